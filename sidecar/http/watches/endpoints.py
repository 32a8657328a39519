"""`GET /watches`: what the caller's key may search."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from sidecar.errors import InputError
from sidecar.http.access import key_of
from sidecar.http.json_response import JsonResponse
from sidecar.http.models import ModelInfo
from sidecar.http.operation import Operation, Scope
from sidecar.http.watches.answers import WatchesAnswer, watch_answer
from sidecar.http.watches.grant import Grant
from sidecar.postgres.reads import Reads
from sidecar.postgres.search import find_watches
from sidecar.postgres.watch_settings import read_watch_settings


class WatchesEndpoint:
    """`GET /watches`. `get_model` returns the model that is served, None until it is loaded.

    `reads`: None without a database.
    """

    def __init__(self, reads: Reads | None, get_model: Callable[[], ModelInfo | None]) -> None:
        self._reads = reads
        self._get_model = get_model

    def operations(self) -> list[Operation]:
        return [
            Operation(
                *("GET", "/watches", self.watches, "The watched tables that can be searched, and what they expose"),
                *(Scope.SEARCH, WatchesAnswer),
                errors=(403, 404, 503),
            )
        ]

    async def watches(self, request: Request) -> Response:
        """Those that the key permits, in the order of their creation."""
        if self._reads is None:
            raise InputError("no_database", "There are no watches: DATABASE_URL is not set.")
        watches, _ = await self._reads.read(find_watches)
        settings, _ = await self._reads.read(read_watch_settings)
        model = self._get_model()
        grant = Grant(key_of(request))
        return JsonResponse(
            WatchesAnswer(
                watches=[
                    watch_answer(watch, settings[watch.watch_id], model, grant)
                    for watch in grant.permitted(watches)
                    if watch.watch_id in settings  # else it has just been removed
                ]
            )
        )
