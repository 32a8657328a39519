"""Drains bodies of which the rest has not been read when their answer is ready."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidecar.errors import InputError
from sidecar.http.headers import declared_bytes, header_values

_GRACE_S = 2.0
_MIN_BYTES_PER_S = 1024 * 1024
# uvicorn reads this much by itself, and keeps the connection.
_SHORT_BYTES = 64 * 1024


class DrainUnreadBody:
    """Reads and discards the rest of a body before the answer to its request is sent.

    A connection that is closed on a client that still sends is reset, and the client never reads why it was rejected.
    Clients exceeding `max_bytes`, or slower than 1 MiB/s after 2 s, get the response and `Connection: close`.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        all_read = _is_short(scope)

        async def watched_receive() -> Message:
            nonlocal all_read
            message = await receive()
            all_read = message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        async def draining_send(message: Message) -> None:
            if message["type"] == "http.response.start" and not all_read:
                if not _is_cancelled():
                    await self._discard(scope, watched_receive)
                if not all_read:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self._app(scope, watched_receive, draining_send)

    async def _discard(self, scope: Scope, receive: Receive) -> None:
        """Reads to the end of the body, or until it is too long or too slow."""
        # A client that waits for "100 Continue" has sent nothing yet, and reading would make it start.
        if header_values(scope, b"expect") or declared_bytes(scope) > self._max_bytes:
            return
        discarded = 0
        more = True
        deadline = asyncio.get_running_loop().time() + _GRACE_S
        try:
            async with asyncio.timeout_at(deadline) as timeout:
                while more and discarded <= self._max_bytes:
                    message = await receive()
                    more = message.get("more_body", False)
                    discarded += len(message.get("body", b""))
                    timeout.reschedule(deadline + discarded / _MIN_BYTES_PER_S)
        except (TimeoutError, InputError):  # too slow, or a broken body
            return


def _is_cancelled() -> bool:
    """Whether the process is stopping: there is time for an answer, but for nothing before it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_short(scope: Scope) -> bool:
    """Whether the body is short and certain to come. After `Expect`, the next request may come in its place."""
    if declared_bytes(scope) > _SHORT_BYTES:
        return False
    return not any(name in {b"transfer-encoding", b"expect"} for name, _ in scope["headers"])
