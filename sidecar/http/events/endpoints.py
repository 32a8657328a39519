"""`GET /events`: history, samples and status as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as RequestScope

from sidecar.api_keys.key import ApiKey
from sidecar.concurrency import running_tasks
from sidecar.http.access import key_of
from sidecar.http.events.feed import EventFeed, Listener
from sidecar.http.operation import MediaType, Operation, Scope
from sidecar.readiness import NotReady, State

_PIECE_BYTES = 256 * 1024
_HEADERS = {"X-Accel-Buffering": "no"}  # nginx would keep the events until its buffer is full


class EventsEndpoint:
    """`GET /events`. `still_allowed`: whether the key of a stream is still in force; else the stream ends."""

    def __init__(self, feed: EventFeed, still_allowed: Callable[[ApiKey | None], bool]) -> None:
        self._feed = feed
        self._still_allowed = still_allowed

    def operations(self) -> list[Operation]:
        return [
            Operation(
                *("GET", "/events", self.events, "The last hour, then samples and status as server-sent events"),
                *(Scope.ADMIN, None),
                response_media=MediaType.EVENTS,
                deadline=False,
                errors=(503,),
            )
        ]

    async def events(self, request: Request) -> Response:
        """Raises TooManyListeners, and NotReady once the process stops."""
        if request.method == "HEAD":
            return Response(media_type=MediaType.EVENTS.value, headers=_HEADERS)
        if self._feed.closed:
            raise NotReady(State.STOPPING, "The process is shutting down.")
        self._feed.check_room()
        key = key_of(request)
        return EventStream(self._feed, lambda: self._still_allowed(key))


class EventStream(Response):
    """Sends the events of a feed until the client disconnects, its key is withdrawn, or the feed is closed.

    A client that does not read loses the oldest events, and is then cut off by the server: see BoundedHttpProtocol.
    """

    media_type = MediaType.EVENTS.value

    def __init__(self, feed: EventFeed, is_allowed: Callable[[], bool]) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._feed = feed
        self._is_allowed = is_allowed

    async def __call__(self, _scope: RequestScope, receive: Receive, send: Send) -> None:
        with self._feed.listening() as listener:
            work = {
                "events-sending": self._send_all(listener, send),
                "events-disconnect": _wait_for_disconnect(receive),
            }
            async with running_tasks(work) as (sending, disconnect):
                await asyncio.wait([sending, disconnect], return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and not sending.cancelled():
                sending.result()

    async def _send_all(self, listener: Listener, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        while (event := await listener.next()) is not None and self._is_allowed():
            for start in range(0, len(event), _PIECE_BYTES):
                piece = event[start : start + _PIECE_BYTES]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
