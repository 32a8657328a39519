"""The database half of `POST /search`: finds its watches, the rows that its query names, and the nearest rows."""

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
from sidecar.http.search.columns import shown_columns
from sidecar.http.search.diversity import candidates_for
from sidecar.http.search.pages import is_reordered, page_of, read_place
from sidecar.http.search.query_parts import keys_of, targets_of_keys
from sidecar.http.search.stages import StageClock
from sidecar.http.search.targets import names_of, weights_of
from sidecar.http.watches.finding import find_named_watches
from sidecar.http.watches.grant import Grant
from sidecar.postgres.database import Database
from sidecar.postgres.hybrid_search import WordQuery, find_hybrid
from sidecar.postgres.reads import Reads
from sidecar.postgres.row_vectors import RowVector, add_vectors, find_row_vectors
from sidecar.postgres.search import NearestQuery, NearestRow, SearchedWatch, find_nearest
from sidecar.postgres.target_search import find_in_targets
from sidecar.telemetry.telemetry import Stage, Telemetry

_CANDIDATES_PER_ROW = 4
_LEAST_CANDIDATES = 100


@dataclass(frozen=True, slots=True)
class ResolvedSearch:
    """A search with its watches, its models and the query's vector.

    `document` are the columns to rerank by; `words` are those of a hybrid search.
    """

    body: SearchBody
    watches: Sequence[SearchedWatch]
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

    async def find_watches(self, body: SearchBody, grant: Grant) -> list[SearchedWatch]:
        """The watches that the body names. Raises as find_named_watches."""
        targets = {"target": body.target} if body.target is not None else names_of(body.targets or ())
        watches, _ = await self._reads.read(partial(find_named_watches, table=body.table, targets=targets, grant=grant))
        return watches

    async def find_named(
        self, watches: Sequence[SearchedWatch], body: SearchBody, clock: StageClock
    ) -> dict[str, RowVector]:
        """The rows that `query` names by their keys, by the names of these in the request."""
        parts = body.query or ()
        keys = keys_of(parts, watches[0].key_columns)
        targets = targets_of_keys(parts, [watch.target for watch in watches])
        rows: dict[str, RowVector] = {}
        for watch in watches:
            wanted = {param: key for param, key in keys.items() if targets[param] == watch.target}
            if not wanted:
                continue
            find = partial(find_row_vectors, watch=watch, keys=wanted, timeout_s=self._limits.timeout_s)
            with clock.timed("database"), self._telemetry.stage(Stage.DATABASE, Lane.QUERY.value, "read_rows"):
                found, _ = await self._reads.read(find)
            rows |= found
        return rows

    async def find_nearest(
        self, search: ResolvedSearch, left_out: AbstractSet[str], clock: StageClock
    ) -> tuple[list[NearestRow], float | None]:
        """The rows to choose from, but none with a key of `left_out`, and the lag of the standby that gave them."""
        body = search.body
        filled = [watch for watch in search.watches if watch.fingerprint is not None]
        if not filled:  # vectors in the table, if any, are of an unknown model
            return [], self._reads.lag_s if self._reads.uses_standby else None
        wanted = rows_to_find(body, self._limits.max_search_rows)
        candidates = candidates_of(body, wanted, len(left_out))
        columns = shown_columns(search.watches, body.columns)
        skip = 0 if is_reordered(body) or left_out else body.offset
        wanted -= skip
        after = read_place(body, search.models.embedding_model.fingerprint)
        query = NearestQuery(
            search.embedded.vector,
            wanted + len(left_out),
            body.filter,
            columns,
            search.document,
            skip,
            after,
            candidates,
        )

        async def find(database: Database) -> list[NearestRow]:
            found = await self._find(database, search, filled, query)
            rows = page_of(body, [row for row in found if row.key not in left_out], wanted, skip)
            return await add_vectors(database, filled, rows, self._limits.timeout_s) if body.diversity else rows

        with clock.timed("database"), self._telemetry.stage(Stage.DATABASE, Lane.QUERY.value, "search"):
            return await self._reads.read(find)

    async def _find(
        self, database: Database, search: ResolvedSearch, filled: Sequence[SearchedWatch], query: NearestQuery
    ) -> list[NearestRow]:
        timeout_s = self._limits.timeout_s
        if search.body.targets is not None:
            weights = weights_of(search.body.targets)
            return await find_in_targets(database, filled, [weights[each.target] for each in filled], query, timeout_s)
        if search.words is not None:
            return await find_hybrid(database, filled[0], query, search.words, timeout_s)
        return await find_nearest(database, filled[0], query, timeout_s)


def rows_to_find(body: SearchBody, max_rows: int) -> int:
    """How many rows the results are chosen from: all of them if they are neither reranked nor diverse."""
    last = body.offset + body.k
    if body.rerank is not None:
        return max(last, body.rerank.top_k)
    return candidates_for(last, max_rows) if body.diversity else last


def candidates_of(body: SearchBody, rows: int, left_out: int) -> int:
    """How many rows each of the rankings that are merged proposes, of a search for `rows` and those `left_out`.

    Pages of one size are to be parts of one result, and more candidates change all scores. So it follows from the size
    of a page, and doubles only where that is too few.
    """
    page = body.k if rows == body.offset + body.k else rows
    candidates = max(_CANDIDATES_PER_ROW * page, _LEAST_CANDIDATES)
    while candidates < rows + left_out:
        candidates *= 2
    return candidates
