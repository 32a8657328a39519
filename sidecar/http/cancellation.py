"""How long a request is worked on: until its deadline, or until its client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

Result = TypeVar("Result")


async def work_while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, which is cancelled if the client goes away first: then raises ClientDisconnect.

    The request's body must have been read.
    """
    watch = _Watch(request)
    leaving = asyncio.create_task(watch.wait_for_disconnect(), name=f"disconnect {request.scope['path']}")
    try:
        return await work
    except asyncio.CancelledError as cancelled:
        # Cancelled by the watch alone; a deadline that passed, or a server that stops, counts for more.
        if watch.client_has_gone and watch.working.uncancel() == 0:
            raise ClientDisconnect from cancelled
        raise
    finally:
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)


class _Watch:
    """Cancels the task that works for a client, if that client goes away."""

    def __init__(self, request: Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.working = task
        self.client_has_gone = False
        self._receive = request.receive

    async def wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_has_gone = True
        self.working.cancel()
