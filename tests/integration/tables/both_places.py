"""One table that is watched twice: with the vector in its rows, and with a companion."""

from __future__ import annotations

from collections.abc import Sequence

from tests.encoders import HashEncoder
from tests.integration.ingest.watched_table import Connection, WatchedTable, watch
from tests.integration.tables.sweeping import until_clean


async def watch_both(db: Connection, table: str, *key: str, source: str = "title") -> list[WatchedTable]:
    """The vector columns are called `embedding` and `vector`."""
    return [
        await watch(db, [table], [source], key),
        await watch(db, [table], [source], key, target="vector", companion=f"{table}_vectors"),
    ]


async def settle_right(watched: Sequence[WatchedTable], encoder: HashEncoder) -> None:
    """Waits until nothing is pending, and checks every vector."""
    for table in watched:
        await table.settle_right(encoder)


async def all_clean(db: Connection, watched: Sequence[WatchedTable]) -> None:
    """Until the ledgers know nothing but rows of the table, and each of them."""
    for table in watched:
        await until_clean(db, table)
