"""`POST /search`: the rows of a watched table that are nearest to a text, a picture, a vector or a mixture."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from sidecar.errors import InputError
from sidecar.http.access import key_of
from sidecar.http.bodies.json_body import read_json
from sidecar.http.cancellation import cancel_on_disconnect
from sidecar.http.embed.all_or_none import models_with_capacity
from sidecar.http.images.loader import ImageLoader
from sidecar.http.limits import RequestLimits
from sidecar.http.models import GetModels, Models
from sidecar.http.operation import Operation, Scope
from sidecar.http.search.answers import SearchAnswer, search_response
from sidecar.http.search.bodies import SearchBody, check_search
from sidecar.http.search.columns import check_columns, rerank_columns, word_columns
from sidecar.http.search.diversity import diversify
from sidecar.http.search.finding import ResolvedSearch, RowFinder
from sidecar.http.search.hybrid import word_query
from sidecar.http.search.pages import check_page, is_reordered
from sidecar.http.search.query_vector import query_vector
from sidecar.http.search.ranking import RankedRow, as_found, rerank_rows
from sidecar.http.search.stages import StageClock
from sidecar.http.watches.fitness import check_model
from sidecar.http.watches.grant import Grant
from sidecar.postgres.reads import Reads
from sidecar.postgres.search import NearestRow, SearchedWatch
from sidecar.postgres.target_search import as_one
from sidecar.telemetry.telemetry import Telemetry


class SearchEndpoint:
    """`POST /search`. The whole request is checked before the model and the user's table are used."""

    def __init__(
        self,
        get_models: GetModels,
        limits: RequestLimits,
        images: ImageLoader,
        reads: Reads | None,
        telemetry: Telemetry,
    ) -> None:
        self._get_models = get_models
        self._limits = limits
        self._images = images
        self._finder = None if reads is None else RowFinder(reads, limits, telemetry)

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "POST",
                "/search",
                self.search,
                "Find the rows of a watched table nearest to a text, a picture, a vector, or a mixture of them",
                Scope.SEARCH,
                SearchAnswer,
                SearchBody,
                errors=(403, 404, 409, 429, 503, 504),
            )
        ]

    async def search(self, request: Request) -> Response:
        finder = self._finder
        if finder is None:
            raise InputError("no_database", "There is nothing to search: DATABASE_URL is not set.")
        models = models_with_capacity(self._get_models)
        body = await read_json(request, SearchBody, self._limits)
        clock = StageClock()
        check_search(body, self._limits)
        check_page(body, self._limits)
        search, found, lag_s = await cancel_on_disconnect(
            request, self._search(finder, models, body, Grant(key_of(request)), clock)
        )
        return search_response(search, found, clock, lag_s)

    async def _search(
        self, finder: RowFinder, models: Models, body: SearchBody, grant: Grant, clock: StageClock
    ) -> tuple[ResolvedSearch, Sequence[RankedRow], float | None]:
        """The search, its rows, and the lag of the standby that they were read from."""
        watches = await finder.find_watches(body, grant)
        for watch in watches:
            check_model(watch, models.embedding_model)
        check_columns(watches, body)
        reranker = models.require_reranker() if body.rerank else None
        with grant.explaining(as_one(watches)):
            search, rows, lag_s = await self._find(finder, models, body, watches, clock)
        ranked = [as_found(row) for row in rows]
        if reranker is not None and body.rerank is not None:
            with clock.timed("rerank"):
                ranked = await rerank_rows(reranker, body.rerank.text or body.text or "", rows)
        if body.diversity:
            with clock.timed("diversity"):
                ranked = await diversify(ranked, body.diversity, body.offset + body.k)
        skipped = body.offset if is_reordered(body) else 0
        return search, ranked[skipped : skipped + body.k], lag_s

    async def _find(
        self, finder: RowFinder, models: Models, body: SearchBody, watches: Sequence[SearchedWatch], clock: StageClock
    ) -> tuple[ResolvedSearch, list[NearestRow], float | None]:
        """The rows to choose from, before they are reranked."""
        document = rerank_columns(watches, body.rerank.column) if body.rerank else ()
        words = (
            word_query(body.hybrid, body.text, word_columns(watches[0], body.hybrid.columns)) if body.hybrid else None
        )
        named = await finder.find_named(watches, body, clock)
        vectors = {param: row.vector for param, row in named.items()}
        embedded = await query_vector(body, models, self._images, vectors, clock)
        search = ResolvedSearch(body, watches, models, embedded, document, words)
        left_out = set() if body.include_keys else {row.key for row in named.values()}
        rows, lag_s = await finder.find_nearest(search, left_out, clock)
        return search, rows, lag_s
