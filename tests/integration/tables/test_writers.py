"""All ways to write rows: those that fire triggers are embedded at once, the others after a sweep."""

from __future__ import annotations

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, value
from tests.integration.tables.both_places import settle_right, until_all_clean, watch_both
from tests.integration.tables.sweeping import sweep

STATEMENTS = (
    "insert into items values (1, 'mended'), (100, 'new') on conflict (id) do update set title = excluded.title",
    "insert into items values (2, 'not this'), (101, 'new too') on conflict do nothing",
    """
    merge into items t using (values (3, 'merged'), (4, null), (102, 'inserted')) as s(id, title) on t.id = s.id
        when matched and s.title is null then delete
        when matched then update set title = s.title
        when not matched then insert (id, title) values (s.id, s.title)
    """,
    "update items t set title = s.title from (values (5, 'from'), (6, 'from')) s(id, title) where s.id = t.id",
    "delete from items t using (values (7), (8)) s(id) where s.id = t.id",
    "with gone as (delete from items where id = 9 returning title) insert into items select 109, title from gone",
    """
    with moved as (update items set id = id + 200 where id in (10, 11) returning id)
    update items t set title = 'beside' from moved where t.id = moved.id - 190
    """,
    "do $$ begin for i in 1..5 loop insert into items values (300 + i, 'loop ' || i); end loop; end $$",
)
SHAPES = {
    "table": "create table items (id bigint primary key, title text)",
    "partitioned": "create table items (id bigint primary key, title text) partition by range (id)",
    "unlogged": "create unlogged table items (id bigint primary key, title text)",
}


async def make(db: Connection, shape: str) -> list[WatchedTable]:
    await run(db, SHAPES[shape])
    if shape == "partitioned":
        await run(db, "create table items_low partition of items for values from (0) to (8)")
        await run(db, "create table items_high partition of items for values from (8) to (1000)")
    await run(db, "insert into items select i, 'title ' || i from generate_series(1, 20) i")
    return await watch_both(db, "items", "id")


@pytest.mark.parametrize("shape", SHAPES)
async def test_rows_written_by_every_kind_of_statement_are_embedded(
    database_url: str, db: Connection, encoder: GatedEncoder, shape: str
) -> None:
    both = await make(db, shape)
    async with running_ingest(database_url, encoder):
        await settle_right(both, encoder)
        for statement in STATEMENTS:
            await run(db, statement)
            await settle_right(both, encoder)
        async with db.cursor().copy("copy items (id, title) from stdin") as copy:
            for i in range(500, 520):
                await copy.write_row((i, f"copied {i}"))
        await settle_right(both, encoder)
        await until_all_clean(db, both)
        assert await value(db, "select count(*) from sidecar.failures") == 0


@pytest.mark.parametrize("shape", ["table", "partitioned"])
async def test_the_sweep_finds_rows_loaded_with_session_replication_role_replica(
    database_url: str, db: Connection, encoder: GatedEncoder, shape: str
) -> None:
    """Ordinary triggers do not fire, as with pglogical and other loaders."""
    both = await make(db, shape)
    async with running_ingest(database_url, encoder):
        await settle_right(both, encoder)
        await run(db, "set session_replication_role = replica")
        async with db.cursor().copy("copy items (id, title) from stdin") as copy:
            for i in range(500, 520):
                await copy.write_row((i, f"copied {i}"))
        await run(db, "insert into items values (600, 'inserted')")
        await run(db, "delete from items where id < 5")
        await run(db, "update items set id = id + 700 where id in (5, 6)")
        await run(db, "reset session_replication_role")
        for table in both:
            assert await table.count("events") == 0
            await sweep(db, table, encoder)
        await until_all_clean(db, both)


async def test_truncate_and_load_in_one_transaction(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    both = await make(db, "table")
    async with running_ingest(database_url, encoder):
        await settle_right(both, encoder)
        async with db.transaction():
            await run(db, "truncate items")
            async with db.cursor().copy("copy items (id, title) from stdin") as copy:
                for i in range(10, 30):
                    await copy.write_row((i, f"title {i if i % 2 else -i}"))
        await settle_right(both, encoder)
        await until_all_clean(db, both)
