"""Partitioned tables, end to end: writes through any table of the tree, and changes to the tree."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value, watch
from tests.integration.tables.sweeping import sweep, until_clean
from tests.integration.tables.trees import TREES, Tree, make_attachable_table, plant

every_tree = pytest.mark.parametrize(
    ("tree", "companion"),
    [*((TREES[name], None) for name in TREES), (TREES["nested"], "vectors")],
    ids=[*TREES, "nested with companion"],
)
trees_that_grow = pytest.mark.parametrize(
    ("tree", "companion"),
    [(TREES["range"], None), (TREES["nested"], None), (TREES["list"], "vectors")],
    ids=["range", "nested", "list with companion"],
)


async def watch_tree(db: Connection, tree: Tree, companion: str | None = None) -> WatchedTable:
    await plant(db, tree)
    await run(db, "insert into items select 'eu', i, 'there before ' || i from generate_series(1, 20) i")
    return await watch(db, ["items"], ["title"], ["region", "id"], companion=companion)


@every_tree
async def test_writes_through_any_table_of_the_tree_are_embedded(
    database_url: str, db: Connection, encoder: GatedEncoder, tree: Tree, companion: str | None
) -> None:
    table = await watch_tree(db, tree, companion)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        for statement in (
            "insert into items select r, i, 'later ' || i from unnest('{eu,us}'::text[]) r, generate_series(31, 40) i",
            f"insert into {tree.leaf} values ('eu', 50, 'straight into a leaf')",
            f"update {tree.leaf} set title = 'changed in the leaf' where region = 'eu' and id < 5",
            "update items set title = title || '!' where id between 4 and 8",
            "update items set region = 'us', id = id + 100 where id between 6 and 9",
            f"update {tree.other_leaf} set title = 'changed after the move' where id between 106 and 108",
            f"delete from {tree.leaf} where id = 3",
            "delete from items where id = 107",
            "insert into items values ('eu', 1, 'again') on conflict (region, id) do update set title = excluded.title",
        ):
            await run(db, statement)
            await table.settle_right(encoder)
        assert await run(db, "select title from items where id = 108") == [("changed after the move",)]
        assert await run(db, "select rows, embedded, failed, pending from sidecar.status_exact('items')") == [
            (39, 39, 0, 0)
        ]
        await run(db, "truncate items")
        await table.settle_right(encoder)
        await until_clean(db, table)


@trees_that_grow
async def test_the_sweep_finds_rows_of_attached_and_detached_partitions(
    database_url: str, db: Connection, encoder: GatedEncoder, tree: Tree, companion: str | None
) -> None:
    table = await watch_tree(db, tree, companion)
    await make_attachable_table(db, "stranger", with_target=companion is None)
    region, first = tree.free_row
    await run(
        db,
        "insert into stranger (region, id, title) select %s, %s + i, 'stranger ' || i from generate_series(0, 9) i",
        region,
        first,
    )
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, f"alter table items attach partition stranger {tree.free_bounds}")
        assert await table.count("events") == 0
        await sweep(db, table, encoder)
        assert len(await table.contents()) == 30

        await run(db, "update stranger set title = 'changed' where id = %s", first + 1)
        await run(db, "update items set title = 'changed too' where region = %s and id = %s", region, first + 2)
        await table.settle_right(encoder)

        await run(db, "alter table items detach partition stranger")
        await run(db, "update stranger set title = 'nobody looks' where id = %s", first + 3)
        assert await table.count("events") == 0
        await sweep(db, table, encoder)
        await until_clean(db, table)
        assert len(await table.vectors()) == 20

        await run(db, f"alter table items attach partition stranger {tree.free_bounds}")
        await sweep(db, table, encoder)
        assert len(await table.vectors()) == 30


async def test_verify_finds_rows_changed_while_their_partition_was_detached(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await watch_tree(db, TREES["list"])
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "alter table items detach partition items_eu")
        await run(db, "update items_eu set title = 'nobody looks' where id = 3")
        await run(db, "alter table items attach partition items_eu for values in ('eu')")
        assert len(await table.wrong(encoder)) == 1
        await run(db, "select sidecar.verify('items')")
        await table.settle_right(encoder)


async def test_a_concurrently_detached_partition_keeps_its_vectors(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await watch_tree(db, TREES["list"])
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "alter table items detach partition items_eu concurrently")
        await sweep(db, table, encoder)
        await until_clean(db, table)
    assert await value(db, "select count(embedding) from items_eu") == 20
    assert await value(db, "select count(*) from pg_trigger where tgrelid = 'items_eu'::regclass") == 0


async def test_the_sweep_finds_a_truncated_leaf_which_is_then_refilled(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await watch_tree(db, TREES["nested"], "vectors")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "truncate items_eu_low")
        assert len(await table.vectors()) == 20
        await sweep(db, table, encoder)
        await until_clean(db, table)
        assert await table.vectors() == {}
        await run(db, "insert into items values ('eu', 1, 'there again')")
        await table.settle_right(encoder)
        assert len(await table.vectors()) == 1


@trees_that_grow
async def test_partitions_created_after_the_watch_are_embedded_from_their_first_row(
    database_url: str, db: Connection, encoder: GatedEncoder, tree: Tree, companion: str | None
) -> None:
    table = await watch_tree(db, tree, companion)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, f"create table branch partition of items {tree.free_bounds} partition by hash (id)")
        await run(db, "create table branch_0 partition of branch for values with (modulus 1, remainder 0)")
        region, first = tree.free_row
        await run(db, "insert into items values (%s, %s, 'first')", region, first)
        await run(db, "insert into branch_0 values (%s, %s, 'second')", region, first + 1)
        await table.settle_right(encoder)
        await run(db, "update branch set title = title || ' edition'")
        await table.settle_right(encoder)
        await run(db, "drop table branch")
        await sweep(db, table, encoder)
        await until_clean(db, table)


@in_row_and_companion
async def test_rows_that_move_between_partitions_while_in_flight_lose_no_vector(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    """An UPDATE that waits for a row being moved fails with 40001: neither the sidecar's nor a user's may."""
    table = await watch_tree(db, TREES["nested"], companion)

    async def move(ids: range) -> None:
        async with user(database_url, autocommit=False) as session:
            await run(session, "set statement_timeout = '5s'")
            for turn in range(6):
                for id_ in ids:
                    region = ("us", "eu", "us")[(turn + id_) % 3]
                    await run(session, "update items set region = %s, title = title || '.' where id = %s", region, id_)
                    await run(session, "update items set title = %s where id = %s", f"{turn} of {id_}", id_)
                    await (session.rollback() if (turn + id_) % 5 == 4 else session.commit())

    async with running_ingest(database_url, encoder), running_ingest(database_url, GatedEncoder()):
        await asyncio.gather(*(move(range(first, first + 5)) for first in (1, 6, 11, 16)))
        await table.settle_right(encoder)
        await until_clean(db, table)


async def test_a_trigger_disabled_on_one_partition_is_reported_and_watch_repairs_it(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await watch_tree(db, TREES["nested"])
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, f"alter table items_eu_low disable trigger sidecar_{table.watch_id}_insert")
        await run(db, "insert into items values ('eu', 77, 'unseen')")
        assert "call sidecar.watch again" in await value(db, "select state from sidecar.status")
        again = await watch(db, ["items"], ["title"], ["region", "id"])
        assert again.watch_id == table.watch_id
        await table.settle_right(encoder)
        assert await value(db, "select state from sidecar.status") == "up to date"
