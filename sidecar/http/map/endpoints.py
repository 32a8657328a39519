"""`GET /map`: a sample of the rows of a watch, as points."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import orjson
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from sidecar.concurrency import run_to_completion
from sidecar.errors import InputError
from sidecar.http.access import key_of
from sidecar.http.body_models import AnswerModel
from sidecar.http.cancellation import cancel_on_disconnect
from sidecar.http.json_response import JsonResponse
from sidecar.http.limits import RequestLimits
from sidecar.http.map.projection import Projection, project
from sidecar.http.operation import Operation, QueryParameter, Scope
from sidecar.http.query_parameters import read_query
from sidecar.http.watches.finding import find_watch
from sidecar.http.watches.grant import Grant
from sidecar.postgres.database import Database
from sidecar.postgres.reads import Reads
from sidecar.postgres.sampled_rows import SampledRow, sample_rows

USUAL_ROWS, MOST_ROWS = 500, 2000

_QUERY = (
    QueryParameter("table", "The watched table, as in SQL.", required=True),
    QueryParameter("target", "The vector column, where the table has several watches."),
    QueryParameter("rows", f"Most rows of the sample; default: {USUAL_ROWS}.", least=1, most=MOST_ROWS),
)


class MapPoint(AnswerModel):
    key: dict[str, Any] = Field(description="The row's primary key.")
    label: str | None = Field(description="The beginning of its exposed columns; null if none can be shown as text.")
    x: float
    y: float


class MapAnswer(AnswerModel):
    points: list[MapPoint] = Field(description="Rows from all over the table, in no order.")
    shares: list[float] = Field(description="Of the variance of the vectors that x and y show, 0 to 1.")


class MapEndpoint:
    """`GET /map`. One sample is read and projected at a time: it may have 100 MB. `reads`: None without a database."""

    def __init__(self, reads: Reads | None, limits: RequestLimits) -> None:
        self._reads = reads
        self._limits = limits
        self._computing = asyncio.Lock()

    def operations(self) -> list[Operation]:
        return [
            Operation(
                *(
                    "GET",
                    "/map",
                    self.map,
                    "A sample of a watch as points in the plane, by what their vectors have most",
                ),
                *(Scope.SEARCH, MapAnswer),
                errors=(403, 404, 422, 503),
                query=_QUERY,
            )
        ]

    async def map(self, request: Request) -> Response:
        """The points. Raises InputError, AccessDenied, DatabaseError."""
        if self._reads is None:
            raise InputError("no_database", "There are no vectors: DATABASE_URL is not set.")
        values = read_query(request, _QUERY)
        grant = Grant(key_of(request))
        find = partial(find_watch, table=values.texts["table"], target=values.texts.get("target"), grant=grant)
        watch, _ = await self._reads.read(find)
        rows = values.integers.get("rows", USUAL_ROWS)
        sample = partial(sample_rows, watch=watch, rows=rows, timeout_s=self._limits.timeout_s)
        with grant.explaining(watch):
            return await cancel_on_disconnect(request, self._answer(self._reads, sample))

    async def _answer(self, reads: Reads, sample: Callable[[Database], Awaitable[list[SampledRow]]]) -> Response:
        async with self._computing:
            rows, _ = await reads.read(sample)
            if not rows:
                return JsonResponse(MapAnswer(points=[], shares=[0.0, 0.0]))
            # A thread cannot be cancelled; before its end, no other may begin.
            found = await run_to_completion(asyncio.to_thread(_project_rows, rows), "map-projection")
        return JsonResponse(
            {
                "points": [_point(row, x, y) for row, (x, y) in zip(rows, found.points.tolist(), strict=True)],
                "shares": found.shares.tolist(),
            }
        )


def _point(row: SampledRow, x: float, y: float) -> dict[str, Any]:
    """A MapPoint. The key is Postgres' own JSON, with all the digits of its numbers."""
    return {"key": orjson.Fragment(row.key), "label": row.label, "x": x, "y": y}


def _project_rows(rows: Sequence[SampledRow]) -> Projection:
    return project(np.stack([row.vector for row in rows]))
