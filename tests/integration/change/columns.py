"""The watched table for tests of changed columns."""

from __future__ import annotations

from tests.integration.ingest.watched_table import Connection, WatchedTable, watch

CREATE = """
    create table items (id integer primary key, title varchar(50), brand text, price integer);
    insert into items select i, 'title ' || i, 'brand ' || i, i from generate_series(1, 20) i;
"""


async def watch_items(db: Connection, key: str, source: str, companion: str | None, **options: object) -> WatchedTable:
    return await watch(db, ["items"], [source], [key], companion=companion, **options)
