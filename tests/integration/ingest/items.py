"""The example of most tests: a watched table `items`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.ingest.watched_table import Connection, WatchedTable, picture, run, watch

PLACES = [None, "items_embeddings"]

in_row_and_companion = pytest.mark.parametrize("companion", PLACES, ids=["in-row", "companion"])


async def make_texts(db: Connection, rows: int = 0, **options: Any) -> WatchedTable:
    """Creates and watches `items (id, title, price)`, with titles 'title 1', 'title 2' …"""
    await run(db, "create table items (id bigint primary key, title text, price integer default 0)")
    await insert_titles(db, 1, rows)
    return await watch(db, ["items"], ["title"], **options)


async def make_pictures(db: Connection, rows: int = 0, **options: Any) -> WatchedTable:
    """Creates and watches `items (id, photo)`."""
    await run(db, "create table items (id bigint primary key, photo bytea)")
    for i in range(1, rows + 1):
        await run(db, "insert into items values (%s, %s)", i, picture(i))
    return await watch(db, ["items"], ["photo"], **options)


async def insert_titles(db: Connection, first: int, last: int) -> None:
    """Inserts rows `first` to `last` in one statement."""
    await run(db, "insert into items select i, 'title ' || i from generate_series(%s::int, %s::int) i", first, last)
