"""Answers that are ready while the client still sends."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidecar.errors import InputError
from sidecar.http.headers import declared_bytes, header_values

_PATIENCE_S = 2.0
_MIN_BYTES_PER_S = 1024 * 1024
# Servers go on reading so much by themselves, and keep the connection.
_HARMLESS_BYTES = 64 * 1024


class DrainUnreadBody:
    """Reads the rest of a body, and forgets it, before a request that needs no more of it is answered.

    Closed on a client that still sends, the connection would be reset, and the client never see why it was refused.
    Who sends more than `max_bytes`, or after two seconds has sent less than 1 MiB/s, is answered and cut off.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        all_read = _is_harmless(scope)

        async def watched_receive() -> Message:
            nonlocal all_read
            message = await receive()
            all_read = message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        async def patient_send(message: Message) -> None:
            if message["type"] == "http.response.start" and not all_read:
                if not _is_cut_off():
                    await self._discard(scope, watched_receive)
                if not all_read:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self._app(scope, watched_receive, patient_send)

    async def _discard(self, scope: Scope, receive: Receive) -> None:
        """Until the end of the body, or until that is too much to ask."""
        # A client that waits for "100 Continue" has sent nothing, and reading would ask it to.
        if header_values(scope, b"expect") or declared_bytes(scope) > self._max_bytes:
            return
        discarded = 0
        more = True
        until = asyncio.get_running_loop().time() + _PATIENCE_S
        try:
            async with asyncio.timeout_at(until) as patience:
                while more and discarded <= self._max_bytes:
                    message = await receive()
                    more = message.get("more_body", False)
                    discarded += len(message.get("body", b""))
                    patience.reschedule(until + discarded / _MIN_BYTES_PER_S)
        except (TimeoutError, InputError):  # too much to ask, or a body that broke
            return


def _is_cut_off() -> bool:
    """Whether the process ends: there is time for an answer, and for nothing before it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_harmless(scope: Scope) -> bool:
    """Whether the body is short and surely comes: a client that asks first may send its next request in its place."""
    if declared_bytes(scope) > _HARMLESS_BYTES:
        return False
    return not any(name in {b"transfer-encoding", b"expect"} for name, _ in scope["headers"])
