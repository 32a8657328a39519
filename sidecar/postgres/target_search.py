"""Finds the rows that are nearest in several targets of one table, by reciprocal rank fusion, for POST /search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sidecar.postgres.database import Database
from sidecar.postgres.search import (
    NearestQuery,
    NearestRow,
    SearchedWatch,
    found_rows,
    nearest_arguments,
    search_transaction,
)
from sidecar.postgres.statements import statement


async def find_in_targets(
    database: Database,
    watches: Sequence[SearchedWatch],
    weights: Sequence[float],
    query: NearestQuery,
    timeout_s: float,
) -> list[NearestRow]:
    """At most `query.k` rows of the table of these watches, the best first, with their score, and distances and ranks.

    One weight for each watch. Raises as find_nearest.
    """
    watch = as_one(watches)
    relation, vector, _, *others = nearest_arguments(watch, query)
    async with search_transaction(database, watch, timeout_s) as connection:
        records = await connection.fetch(
            statement("target_rows"),
            relation,
            vector,
            [each.target for each in watches],
            *others,
            list(weights),
            query.candidates,
        )
    return found_rows(records)


def as_one(watches: Sequence[SearchedWatch]) -> SearchedWatch:
    """The watches of one table as one: errors name all of them, and a row has to pass the forced filters of all."""
    if len(watches) == 1:
        return watches[0]
    forced: list[Mapping[str, object]] = []
    for watch in watches:
        if watch.forced is not None and watch.forced not in forced:
            forced.append(watch.forced)
    return replace(
        watches[0],
        target=" and ".join(watch.target for watch in watches),
        forced={"$and": forced} if len(forced) > 1 else forced[0] if forced else None,
    )
