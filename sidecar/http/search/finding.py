"""The database half of `POST /search`: the watch, the rows that the query names by their keys, and the nearest rows."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

from sidecar.batching.embedder import Embedded
from sidecar.batching.job import Lane
from sidecar.http.limits import RequestLimits
from sidecar.http.models import Models
from sidecar.http.search.bodies import SearchBody
from sidecar.http.search.diversity import candidates_for
from sidecar.http.search.pages import is_reordered, page_of, read_place
from sidecar.http.search.query_parts import keys_of
from sidecar.http.search.stages import StageClock
from sidecar.http.watches.finding import find_watch
from sidecar.http.watches.grant import Grant
from sidecar.postgres.database import Database
from sidecar.postgres.hybrid_search import WordQuery, find_hybrid
from sidecar.postgres.reads import Reads
from sidecar.postgres.row_vectors import RowVector, add_vectors, find_row_vectors
from sidecar.postgres.search import NearestQuery, NearestRow, SearchedWatch, find_nearest
from sidecar.telemetry.telemetry import Stage, Telemetry


@dataclass(frozen=True, slots=True)
class ResolvedSearch:
    """A search with its watch, its models and the query's vector.

    `document` are the columns to rerank by; `words` are those of a hybrid search.
    """

    body: SearchBody
    watch: SearchedWatch
    models: Models
    embedded: Embedded
    document: Sequence[str]
    words: WordQuery | None


class RowFinder:
    """What a search reads from the database, on the standby where there is one to be trusted."""

    def __init__(self, reads: Reads, limits: RequestLimits, telemetry: Telemetry) -> None:
        self._reads = reads
        self._limits = limits
        self._telemetry = telemetry

    async def find_watch(self, body: SearchBody, grant: Grant) -> SearchedWatch:
        """The watch that the body names. Raises as watches.finding.find_watch."""
        watch, _ = await self._reads.read(partial(find_watch, table=body.table, target=body.target, grant=grant))
        return watch

    async def find_named(self, watch: SearchedWatch, body: SearchBody, clock: StageClock) -> dict[str, RowVector]:
        """The rows that `query` names by their keys, by the names of these in the request."""
        keys = keys_of(body.query or (), watch.key_columns)
        if not keys:
            return {}
        find = partial(find_row_vectors, watch=watch, keys=keys, timeout_s=self._limits.timeout_s)
        with clock.timed("database"), self._telemetry.stage(Stage.DATABASE, Lane.QUERY.value, "read_rows"):
            rows, _ = await self._reads.read(find)
        return rows

    async def find_nearest(
        self, search: ResolvedSearch, left_out: AbstractSet[str], clock: StageClock
    ) -> tuple[list[NearestRow], float | None]:
        """The rows to choose from, but none with a key of `left_out`, and the lag of the standby that gave them."""
        body, watch = search.body, search.watch
        if watch.fingerprint is None:  # vectors in the table, if any, are of an unknown model
            return [], self._reads.lag_s if self._reads.uses_standby else None
        wanted = rows_to_find(body, self._limits.max_search_rows)
        columns = watch.exposed if body.columns is None else body.columns
        skip = 0 if is_reordered(body) or left_out else body.offset
        wanted -= skip
        after = read_place(body, search.models.embedding_model.fingerprint)
        query = NearestQuery(
            search.embedded.vector, wanted + len(left_out), body.filter, columns, search.document, skip, after
        )

        async def find(database: Database) -> list[NearestRow]:
            if search.words is not None:
                found = await find_hybrid(database, watch, query, search.words, self._limits.timeout_s)
            else:
                found = await find_nearest(database, watch, query, self._limits.timeout_s)
            rows = page_of(body, [row for row in found if row.key not in left_out], wanted, skip)
            return await add_vectors(database, watch, rows, self._limits.timeout_s) if body.diversity else rows

        with clock.timed("database"), self._telemetry.stage(Stage.DATABASE, Lane.QUERY.value, "search"):
            return await self._reads.read(find)


def rows_to_find(body: SearchBody, max_rows: int) -> int:
    """How many rows the results are chosen from: all of them if they are neither reranked nor diverse."""
    last = body.offset + body.k
    if body.rerank is not None:
        return max(last, body.rerank.top_k)
    return candidates_for(last, max_rows) if body.diversity else last
