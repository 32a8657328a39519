"""A table with two watches: one in-row, one with a companion."""

from __future__ import annotations

from collections.abc import Sequence

from tests.encoders import HashEncoder
from tests.integration.ingest.watched_table import Connection, WatchedTable, watch
from tests.integration.tables.sweeping import until_clean


async def watch_both(db: Connection, table: str, *key: str, source: str = "title") -> list[WatchedTable]:
    """Watches the table twice, with targets `embedding` in the row and `vector` in a companion."""
    return [
        await watch(db, [table], [source], key),
        await watch(db, [table], [source], key, target="vector", companion=f"{table}_vectors"),
    ]


async def settle_right(watched: Sequence[WatchedTable], encoder: HashEncoder) -> None:
    """Waits until nothing is pending, and checks every vector."""
    for table in watched:
        await table.settle_right(encoder)


async def until_all_clean(db: Connection, watched: Sequence[WatchedTable]) -> None:
    """Waits until both ledgers have an entry for every row of the table and no others."""
    for table in watched:
        await until_clean(db, table)
