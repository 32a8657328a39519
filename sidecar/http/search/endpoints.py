"""`POST /search`: the rows of a watched table that are nearest to a text, a picture, a vector or a mixture."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from sidecar.batching.job import Lane
from sidecar.errors import InputError
from sidecar.http.access import key_of
from sidecar.http.bodies.json_body import read_json
from sidecar.http.cancellation import cancel_on_disconnect
from sidecar.http.embed.all_or_none import models_with_capacity
from sidecar.http.images.loader import ImageLoader
from sidecar.http.limits import RequestLimits
from sidecar.http.models import GetModels, Models
from sidecar.http.operation import Operation, Scope
from sidecar.http.search.answers import ResolvedSearch, SearchAnswer, search_response
from sidecar.http.search.bodies import SearchBody, check_search
from sidecar.http.search.diversity import candidates_for, diversify
from sidecar.http.search.grant import Grant
from sidecar.http.search.hybrid import word_query
from sidecar.http.search.pages import check_page, is_reordered, page_of, read_place
from sidecar.http.search.query_parts import keys_of
from sidecar.http.search.query_vector import query_vector
from sidecar.http.search.ranking import RankedRow, as_found, rerank_rows
from sidecar.http.search.stages import StageClock
from sidecar.http.search.watch import check_columns, check_model, find_watch, rerank_columns, word_columns
from sidecar.postgres.database import Database
from sidecar.postgres.hybrid_search import WordQuery, find_hybrid
from sidecar.postgres.reads import Reads
from sidecar.postgres.row_vectors import RowVector, add_vectors, find_row_vectors
from sidecar.postgres.search import NearestQuery, NearestRow, SearchedWatch, find_nearest
from sidecar.telemetry.telemetry import Stage, Telemetry


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
        self._reads = reads
        self._telemetry = telemetry

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
        reads = self._reads
        if reads is None:
            raise InputError("no_database", "There is nothing to search: DATABASE_URL is not set.")
        models = models_with_capacity(self._get_models)
        body = await read_json(request, SearchBody, self._limits)
        clock = StageClock()
        check_search(body, self._limits)
        check_page(body, self._limits)
        search, found, lag_s = await cancel_on_disconnect(
            request, self._search(reads, models, body, Grant(key_of(request)), clock)
        )
        return search_response(search, found, clock, lag_s)

    async def _search(
        self, reads: Reads, models: Models, body: SearchBody, grant: Grant, clock: StageClock
    ) -> tuple[ResolvedSearch, Sequence[RankedRow], float | None]:
        """The search, its rows, and the lag of the standby that they were read from."""
        watch, _ = await reads.read(partial(find_watch, table=body.table, target=body.target, grant=grant))
        check_model(watch, models.embedding_model)
        check_columns(watch, body)
        reranker = models.require_reranker() if body.rerank else None
        with grant.explaining(watch):
            search, rows, lag_s = await self._find(reads, models, body, watch, clock)
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
        self, reads: Reads, models: Models, body: SearchBody, watch: SearchedWatch, clock: StageClock
    ) -> tuple[ResolvedSearch, list[NearestRow], float | None]:
        """The rows to choose from, before they are reranked."""
        document = rerank_columns(watch, body.rerank.column) if body.rerank else ()
        words = _words(watch, body)
        named = await self._named_rows(reads, watch, body, clock)
        vectors = {param: row.vector for param, row in named.items()}
        embedded = await query_vector(body, models, self._images, vectors, clock)
        search = ResolvedSearch(body, watch, models, embedded, words)
        left_out = set() if body.include_keys else {row.key for row in named.values()}
        rows, lag_s = await self._nearest(reads, search, document, left_out, clock)
        return search, rows, lag_s

    async def _named_rows(
        self, reads: Reads, watch: SearchedWatch, body: SearchBody, clock: StageClock
    ) -> dict[str, RowVector]:
        """The rows that `query` names by their keys, by the names of these in the request."""
        keys = keys_of(body.query or (), watch.key_columns)
        if not keys:
            return {}
        find = partial(find_row_vectors, watch=watch, keys=keys, timeout_s=self._limits.timeout_s)
        with clock.timed("database"), self._telemetry.stage(Stage.DATABASE, Lane.QUERY.value, "read_rows"):
            rows, _ = await reads.read(find)
        return rows

    async def _nearest(
        self,
        reads: Reads,
        search: ResolvedSearch,
        document: Sequence[str],
        left_out: AbstractSet[str],
        clock: StageClock,
    ) -> tuple[list[NearestRow], float | None]:
        """Without the rows whose keys are `left_out`."""
        body, watch = search.body, search.watch
        if watch.fingerprint is None:  # vectors in the table, if any, are of an unknown model
            return [], reads.lag_s if reads.uses_standby else None
        wanted = rows_to_find(body, self._limits.max_search_rows)
        columns = watch.exposed if body.columns is None else body.columns
        skip = 0 if is_reordered(body) or left_out else body.offset
        wanted -= skip
        after = read_place(body, search.models.embedding_model.fingerprint)
        query = NearestQuery(
            search.embedded.vector, wanted + len(left_out), body.filter, columns, document, skip, after
        )

        async def find(database: Database) -> list[NearestRow]:
            if search.words is not None:
                found = await find_hybrid(database, watch, query, search.words, self._limits.timeout_s)
            else:
                found = await find_nearest(database, watch, query, self._limits.timeout_s)
            rows = page_of(body, [row for row in found if row.key not in left_out], wanted, skip)
            return await add_vectors(database, watch, rows, self._limits.timeout_s) if body.diversity else rows

        with clock.timed("database"), self._telemetry.stage(Stage.DATABASE, Lane.QUERY.value, "search"):
            return await reads.read(find)


def _words(watch: SearchedWatch, body: SearchBody) -> WordQuery | None:
    return word_query(body.hybrid, body.text, word_columns(watch, body.hybrid.columns)) if body.hybrid else None


def rows_to_find(body: SearchBody, max_rows: int) -> int:
    """How many rows the results are chosen from: all of them if they are neither reranked nor diverse."""
    last = body.offset + body.k
    if body.rerank is not None:
        return max(last, body.rerank.top_k)
    return candidates_for(last, max_rows) if body.diversity else last
