"""The table of these tests, created and watched by its owner."""

from __future__ import annotations

from typing import Any

from tests.integration.ingest.watched_table import Connection, WatchedTable, run, watch


async def make_items(owner: Connection, rows: int = 0) -> None:
    """`shop.items (id, title, price, secret)` with titles 'title 1', 'title 2' …"""
    await run(
        owner, "create table shop.items (id bigint primary key, title text, price integer default 0, secret text)"
    )
    await run(owner, "insert into shop.items select i, 'title ' || i from generate_series(1, %s::int) i", rows)


async def watch_texts(owner: Connection, rows: int = 0, **options: Any) -> WatchedTable:
    """Runs `make_items` and watches the titles."""
    await make_items(owner, rows)
    return await watch(owner, ["shop", "items"], ["title"], **options)
