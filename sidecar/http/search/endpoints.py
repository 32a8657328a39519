"""`POST /search`: the rows of a watched table that are nearest to a text, a picture or a vector."""

from __future__ import annotations

import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from sidecar.batching.job import Lane
from sidecar.errors import InputError
from sidecar.http.bodies.json_body import read_json
from sidecar.http.cancellation import cancel_on_disconnect
from sidecar.http.images.loader import ImageLoader
from sidecar.http.limits import RequestLimits
from sidecar.http.models import GetModels
from sidecar.http.operation import Operation, Scope
from sidecar.http.rerank.scoring import require_reranker
from sidecar.http.search.answers import Search, SearchAnswer, answer_search
from sidecar.http.search.bodies import SearchBody, check_search
from sidecar.http.search.ranking import RankedRow, rank_again
from sidecar.http.search.vector import query_vector
from sidecar.http.search.watch import check_columns, check_model, document_columns, find_watch
from sidecar.postgres.database import Database
from sidecar.postgres.search import NearestQuery, NearestRow, find_nearest
from sidecar.telemetry.telemetry import Stage, Telemetry


class SearchEndpoint:
    """The whole request is checked before the device and the user's table have anything to do with it."""

    def __init__(
        self,
        get_models: GetModels,
        limits: RequestLimits,
        images: ImageLoader,
        database: Database | None,
        telemetry: Telemetry,
    ) -> None:
        self._get_models = get_models
        self._limits = limits
        self._images = images
        self._database = database
        self._telemetry = telemetry

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "POST",
                "/search",
                self.search,
                "The rows of a watched table nearest to a text or a picture",
                Scope.SEARCH,
                SearchAnswer,
                SearchBody,
                errors=(403, 404, 409, 429, 503, 504),
            )
        ]

    async def search(self, request: Request) -> Response:
        database = self._database
        if database is None:
            raise InputError("no_database", "There is nothing to search: DATABASE_URL is not set.")
        self._get_models().embedder.reject_if_full(Lane.QUERY)
        body = await read_json(request, SearchBody, self._limits)
        began = time.perf_counter()
        check_search(body, self._limits)
        search, found = await cancel_on_disconnect(request, self._search(database, body))
        return answer_search(search, found, (time.perf_counter() - began) * 1000)

    async def _search(self, database: Database, body: SearchBody) -> tuple[Search, Sequence[RankedRow]]:
        models = self._get_models()
        watch = await find_watch(database, body.table, body.target)
        check_model(watch, models.embedding_model)
        check_columns(watch, body)
        reranker = require_reranker(models) if body.rerank else None
        document = document_columns(watch, body.rerank.column) if body.rerank else ()
        search = Search(body, watch, models, await query_vector(body, models, self._images))
        rows = await self._nearest(database, search, document)
        if reranker is None or body.text is None:
            return search, [RankedRow(row, None) for row in rows]
        return search, (await rank_again(reranker, body.text, rows))[: body.k]

    async def _nearest(self, database: Database, search: Search, document: Sequence[str]) -> list[NearestRow]:
        body, watch = search.body, search.watch
        if watch.fingerprint is None:  # what may stand there is of no space that anybody knows
            return []
        wanted = max(body.k, body.rerank.top_k) if body.rerank else body.k
        columns = watch.exposed if body.columns is None else body.columns
        query = NearestQuery(search.embedded.vector, wanted, body.filter, columns, document)
        with self._telemetry.stage(Stage.DATABASE, Lane.QUERY.value, "search"):
            return await find_nearest(database, watch, query, self._limits.timeout_s)
