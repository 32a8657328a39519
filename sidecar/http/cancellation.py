"""When work on a request is cancelled: at its deadline, or when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sidecar.concurrency import background
from sidecar.http.errors import error_response
from sidecar.http.operation import Endpoint

Result = TypeVar("Result")


def with_deadline(endpoint: Endpoint, timeout_s: float) -> Endpoint:
    """`endpoint`, cancelled and answered with 504 after `timeout_s`. Its reservations are released."""

    async def answer_in_time(request: Request) -> Response:
        deadline = asyncio.timeout(timeout_s)
        try:
            async with deadline:
                return await endpoint(request)
        except TimeoutError:
            if not deadline.expired():
                raise
            message = f"No answer within {timeout_s:g} s (REQUEST_TIMEOUT_S). Try again, or send less at once."
            return error_response(504, "timeout", message)

    return answer_in_time


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`. Cancels it and raises ClientDisconnect if the client disconnects first.

    The request's body must have been read.
    """
    watch = _DisconnectWatch(request)
    async with background(watch.wait_for_disconnect(), f"disconnect {request.scope['path']}"):
        try:
            return await work
        except asyncio.CancelledError as cancelled:
            # Only if nothing but the watch cancelled: an expired deadline or a stopping server takes precedence.
            if watch.disconnected and watch.working.uncancel() == 0:
                raise ClientDisconnect from cancelled
            raise


class _DisconnectWatch:
    """Cancels the task that created it once the client has disconnected."""

    def __init__(self, request: Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.working = task
        self.disconnected = False
        self._receive = request.receive

    async def wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.disconnected = True
        self.working.cancel()
