"""`watch` warns about tables whose many updates an HNSW index on the same row would slow down."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, run, user, value, watch
from tests.waiting import wait_until_async


async def until_counted(db: Connection, updates: int) -> None:
    async def is_counted() -> bool:
        await run(db, "select pg_stat_clear_snapshot()")
        counted = "select sum(n_tup_upd) from pg_stat_user_tables where relname in ('items', 'part')"
        return int(await value(db, counted) or 0) >= updates

    await wait_until_async(is_counted, "the updates to be counted", timeout_s=20)


async def update_often(database_url: str, table: str) -> None:
    """1,100 updates of 10 rows, by a session that ends, and so reports its statistics."""
    async with user(database_url) as session:
        await run(session, f"insert into {table} select i, 'x', 0 from generate_series(1, 10) i")
        await run(session, f"do $$ begin for i in 1..110 loop update {table} set price = i; end loop; end $$")


async def warnings(db: Connection, **options: Any) -> list[str]:
    heard: list[str] = []
    db.add_notice_handler(lambda d: heard.append(f"{d.message_primary} {d.message_hint}"))
    await watch(db, ["items"], ["title"], **{"index": "halfvec", **options})
    return [said for said in heard if "updates of" in said]


@pytest.mark.parametrize("partitioned", [False, True], ids=["table", "partitions"])
async def test_watch_recommends_a_companion_for_a_frequently_updated_table(
    database_url: str, db: Connection, partitioned: bool
) -> None:
    await run(
        db,
        "create table items (id int primary key, title text, price int)"
        + (" partition by range (id)" if partitioned else ""),
    )
    if partitioned:
        await run(db, "create table part partition of items default")
    await update_often(database_url, "items")
    await until_counted(db, 1100)
    [said] = await warnings(db)
    assert "public.items has seen 1100 updates of 10 rows" in said
    assert "companion => 'some_table'" in said
    await run(db, "select sidecar.unwatch('items', drop_target => true)")
    assert await warnings(db, companion="vectors") == []
    await run(db, "select sidecar.unwatch('items', drop_target => true)")
    assert await warnings(db, index="none") == []


async def test_updates_by_the_sidecar_are_not_counted(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    await run(db, "create table items (id int primary key, title text, price int)")
    await run(db, "insert into items select i, 'title ' || i from generate_series(1, 1200) i")
    table = await watch(db, ["items"], ["title"])
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)

        async def is_reported() -> bool:
            return bool(await value(db, "select embedded_total = 1200 from sidecar_internal.progress"))

        await wait_until_async(is_reported, "the sidecar to tell how much it wrote")
    await until_counted(db, 1200)
    await run(db, "delete from items where id > 10")
    assert await warnings(db, replace=True) == []
