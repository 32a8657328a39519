"""`POST /pause`, `/resume` and `/rate`, for operators."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from sidecar.errors import InputError
from sidecar.http.access import key_of
from sidecar.http.bodies.json_body import read_json
from sidecar.http.body_models import AnswerModel, RequestModel
from sidecar.http.json_response import JsonResponse
from sidecar.http.limits import RequestLimits
from sidecar.http.operation import Endpoint, Operation, Scope
from sidecar.http.watches.finding import find_meant
from sidecar.http.watches.grant import Grant
from sidecar.postgres.database import Database
from sidecar.postgres.operate import set_paused, set_rate
from sidecar.postgres.search import SearchedWatch

_MAX_NAME_CHARS = 1000


class WatchesBody(RequestModel):
    """One watch, all watches of a table, or without `table` all that the key permits."""

    model_config = ConfigDict(extra="forbid")

    table: str | None = Field(
        default=None, max_length=_MAX_NAME_CHARS, description="The watched table, as in SQL.", examples=["products"]
    )
    target: str | None = Field(default=None, max_length=_MAX_NAME_CHARS, description="The vector column.")


class RateBody(WatchesBody):
    rows_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        description="Most rows of each watch per second, over all sidecars; null: no cap.", examples=[50]
    )


class ChangedAnswer(AnswerModel):
    watches: int = Field(description="How many watches changed: those that were so already did not.")


class ControlEndpoints:
    """`database`: None if there is none."""

    def __init__(self, limits: RequestLimits, database: Database | None) -> None:
        self._limits = limits
        self._database = database

    def operations(self) -> list[Operation]:
        return [
            _operation("/pause", self.pause, "Stop embedding; changes are recorded meanwhile", WatchesBody),
            _operation("/resume", self.resume, "Embed again what was paused", WatchesBody),
            _operation("/rate", self.rate, "Limit how many rows are embedded in a second", RateBody),
        ]

    async def pause(self, request: Request) -> Response:
        return await self._set_paused(request, paused=True)

    async def resume(self, request: Request) -> Response:
        return await self._set_paused(request, paused=False)

    async def rate(self, request: Request) -> Response:
        body = await read_json(request, RateBody, self._limits)
        database, watches = await self._meant(request, body)
        return JsonResponse(ChangedAnswer(watches=await set_rate(database, watches, body.rows_per_s)))

    async def _set_paused(self, request: Request, *, paused: bool) -> Response:
        body = await read_json(request, WatchesBody, self._limits)
        database, watches = await self._meant(request, body)
        return JsonResponse(ChangedAnswer(watches=await set_paused(database, watches, paused=paused)))

    async def _meant(self, request: Request, body: WatchesBody) -> tuple[Database, list[SearchedWatch]]:
        if self._database is None:
            raise InputError("no_database", "There are no watches: DATABASE_URL is not set.")
        return self._database, await find_meant(self._database, body.table, body.target, Grant(key_of(request)))


def _operation(path: str, endpoint: Endpoint, summary: str, body: type[WatchesBody]) -> Operation:
    return Operation("POST", path, endpoint, summary, Scope.ADMIN, ChangedAnswer, body, errors=(403, 404, 503))
