"""Statements that cover all watches at once, however many there are: which have work, and periodic upkeep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sidecar.postgres.statements import statement

if TYPE_CHECKING:
    from sidecar.postgres.database import Connection


TOMBSTONES_AT_ONCE = 5000  # of one watch; delete_tombstones_v2 has the number, too


class WatchesWithWork(NamedTuple):
    """Ids of watches with events to claim, and of watches with delayed events that are due."""

    waiting: frozenset[int]
    due: frozenset[int]


async def find_work(connection: Connection, floors: Mapping[int, int], late: Sequence[int] = ()) -> WatchesWithWork:
    """Finds the watches with work. A locked queue counts as empty.

    `floors`, by watch, and `late` come from a Horizon; with floors of 0 all events are searched.
    """
    rows = await connection.fetch(statement("find_work"), list(floors), list(floors.values()), late)
    return WatchesWithWork(
        frozenset(row["watch_id"] for row in rows if row["waiting"]),
        frozenset(row["watch_id"] for row in rows if row["due"]),
    )


async def start_sweeps(connection: Connection, watch_ids: Sequence[int], interval_s: float) -> int:
    """Starts sweeps, each `interval_s` after the watch's last one ended, or after the watch began. Returns how many."""
    return int(await connection.fetchval(statement("start_sweeps"), watch_ids, interval_s))


class DeletedTombstones(NamedTuple):
    """`trouble` has a line for each watch whose tombstones cannot be deleted. `some_left`: there may be more."""

    trouble: list[str]
    some_left: bool


async def delete_tombstones(connection: Connection, floors: Mapping[int, int]) -> DeletedTombstones:
    """Deletes tombstones below the floors, TOMBSTONES_AT_ONCE of each watch at most."""
    rows = await connection.fetch(statement("delete_tombstones"), list(floors), list(floors.values()))
    return DeletedTombstones(
        [row["trouble"] for row in rows if row["trouble"] is not None],
        any(row["deleted"] >= TOMBSTONES_AT_ONCE for row in rows),
    )


async def find_unindexed(connection: Connection, watch_ids: Sequence[int]) -> set[int]:
    """The watches that may lack an index; whether one does takes a closer look."""
    return {row[0] for row in await connection.fetch(statement("find_unindexed"), watch_ids)}
