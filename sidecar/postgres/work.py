"""Which watches have something to do: one statement for all of them, however many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sidecar.postgres.statements import statement

if TYPE_CHECKING:
    from sidecar.postgres.database import Connection


class Work(NamedTuple):
    """Ids of watches: with events that may be claimed, and with delayed events whose time has come."""

    waiting: frozenset[int]
    due: frozenset[int]


async def find_work(connection: Connection, floors: Mapping[int, int], late: Sequence[int] = ()) -> Work:
    """A queue that somebody has locked counts as empty for now. `floors`, by watch, and `late` are a Horizon's; 0 and
    nothing: look everywhere.
    """
    rows = await connection.fetch(statement("find_work"), list(floors), list(floors.values()), late)
    return Work(
        frozenset(row["watch_id"] for row in rows if row["waiting"]),
        frozenset(row["watch_id"] for row in rows if row["due"]),
    )


async def start_sweeps(connection: Connection, watch_ids: Sequence[int], interval_s: float) -> int:
    """Starts the sweeps that are due `interval_s` after the last ones ended, or after the watch began; how many."""
    return int(await connection.fetchval(statement("start_sweeps"), watch_ids, interval_s))


async def delete_tombstones(connection: Connection, floors: Mapping[int, int]) -> list[str]:
    """Returns a line for each watch whose tombstones stay, because something is in the way."""
    rows = await connection.fetch(statement("delete_tombstones"), list(floors), list(floors.values()))
    return [row[0] for row in rows]


async def find_unindexed(connection: Connection, watch_ids: Sequence[int]) -> set[int]:
    """Watches whose index may be due: only these are worth a closer look."""
    return {row[0] for row in await connection.fetch(statement("find_unindexed"), watch_ids)}
