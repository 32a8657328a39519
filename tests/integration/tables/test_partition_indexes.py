"""The HNSW index of a partition tree: one on each leaf, built concurrently, and one on each of their parents."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.ingest.composition import DIMENSIONS, running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value, watch
from tests.integration.tables.trees import TREES, make_attachable_table, plant
from tests.waiting import wait_until_async

INDEXES = """
    select i.indrelid::regclass::text, i.indexrelid::regclass::text, i.indisvalid
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam where a.amname = 'hnsw'
"""
LEAVES = {"items_eu_low", "items_eu_rest", "items_us_0", "items_us_1"}


async def watch_nested(db: Connection, index: str = "halfvec") -> WatchedTable:
    await plant(db, TREES["nested"])
    await run(
        db, "insert into items select r, i, 'text ' || i from unnest('{eu,us}'::text[]) r, generate_series(90, 110) i"
    )
    return await watch(db, ["items"], ["title"], ["region", "id"], index=index)


async def indexed(db: Connection) -> set[str]:
    """The tables with a valid HNSW index."""
    return {table for table, _, valid in await run(db, INDEXES) if valid}


async def until_indexed(db: Connection) -> None:
    async def is_valid() -> bool:
        return "items" in await indexed(db)

    await wait_until_async(is_valid, "a valid index on the root")


async def nodes_of_search(db: Connection, table: WatchedTable) -> list[dict[str, Any]]:
    """The plan of the documented query, with sorting disabled: for so few rows the planner would prefer it."""
    query = await value(db, "select query from sidecar.status where watch_id = %s", table.watch_id)
    async with db.transaction(force_rollback=True):
        await run(db, "set local enable_sort = off")
        await run(db, "set local enable_seqscan = off")
        plan = await value(db, f"explain (format json) {query.replace('$1', '%s')}", str([0.5] * DIMENSIONS))
    nodes, rest = [], [plan[0]["Plan"] if not isinstance(plan, str) else json.loads(plan)[0]["Plan"]]
    while rest:
        node = rest.pop()
        rest += node.pop("Plans", [])
        nodes.append(node)
    return nodes


async def test_every_leaf_gets_an_index_and_the_documented_query_uses_all_of_them(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await watch_nested(db)
    async with running_ingest(database_url, encoder):
        encoder.close()
        await encoder.until_held()
        assert await run(db, INDEXES) == [], "the index is built after the backlog"
        encoder.open()
        await table.settle_right(encoder)
        await until_indexed(db)

    assert await indexed(db) == {"items", "items_eu", "items_us", *LEAVES}
    assert len(await run(db, INDEXES)) == 7
    status = "select index, index_statement from sidecar.status"
    assert await run(db, status) == [(f"public.items_embedding_hnsw_{table.watch_id}", None)]
    nodes = await nodes_of_search(db, table)
    used = {node["Relation Name"] for node in nodes if node["Node Type"] == "Index Scan"}
    assert used == LEAVES
    assert not {"Sort", "Seq Scan"} & {node["Node Type"] for node in nodes}, nodes


async def test_postgres_creates_the_index_on_partitions_added_later(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await watch_nested(db, "vector")
    async with running_ingest(database_url, encoder):
        await until_indexed(db)
        await run(db, "create table items_jp partition of items for values in ('jp')")
        await make_attachable_table(db, "stranger", with_target=True)
        await run(db, "insert into stranger (region, id, title) values ('cn', 1, 'far')")
        await run(db, "alter table items attach partition stranger for values in ('cn')")
        await run(db, "insert into items values ('jp', 1, 'farther')")
        assert {"items", "items_jp", "stranger"} <= await indexed(db)
        nodes = await nodes_of_search(db, table)
    assert {n["Relation Name"] for n in nodes if n["Node Type"] == "Index Scan"} == LEAVES | {"items_jp", "stranger"}


async def oids_of_indexes(db: Connection) -> dict[str, int]:
    return dict(await run(db, f"select index, index::regclass::oid::bigint from ({INDEXES}) as x(home, index, valid)"))


async def test_an_interrupted_build_is_resumed_and_its_valid_indexes_are_kept(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """The root and one branch are done; in the other branch one leaf is missing and one has an invalid index."""
    table = await watch_nested(db)
    script = await value(db, "select index_statement from sidecar.status")
    for step in script.split(";\n"):
        if " only " in step or "items_us" in step or step.startswith("create index concurrently"):
            await run(db, step)
    spoiled, missing = "items_eu_low_embedding_hnsw_1", "items_eu_rest_embedding_hnsw_1"
    await run(db, "update pg_index set indisvalid = false where indexrelid = %s::text::regclass", spoiled)
    await run(db, f"drop index {missing}")
    assert await value(db, "select index from sidecar.status") == "2 of 4 partitions have it"
    before = await oids_of_indexes(db)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await until_indexed(db)

    assert await indexed(db) == {"items", "items_eu", "items_us", *LEAVES}
    after = await oids_of_indexes(db)
    assert {name for name in after if before.get(name) != after[name]} == {spoiled, missing}


async def test_the_index_statement_in_status_builds_all_indexes(db: Connection) -> None:
    table = await watch_nested(db)
    script = await value(db, "select index_statement from sidecar.status")
    for step in script.split(";\n"):
        await run(db, step)
    assert await indexed(db) == {"items", "items_eu", "items_us", *LEAVES}
    assert await value(db, "select index from sidecar.status") == f"public.items_embedding_hnsw_{table.watch_id}"


async def test_writers_do_not_queue_behind_the_lock_of_the_parents_index(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """The parent's index needs a lock that conflicts with an open transaction; writers must not queue behind it."""
    table = await watch_nested(db)
    async with user(database_url, autocommit=False) as old, running_ingest(database_url, encoder):
        await run(old, "insert into items values ('eu', 1000, 'not committed yet')")

        async def is_waiting_for_the_lock() -> bool:
            return bool(
                await value(db, "select count(*) from pg_locks where relation = 'items'::regclass and not granted")
            )

        await wait_until_async(is_waiting_for_the_lock, "the index to be tried")
        await run(db, "set statement_timeout = '1s'")
        for i in range(2000, 2010):
            await run(db, "insert into items values ('us', %s, 'meanwhile')", i)
        await old.commit()
        await table.settle_right(encoder)
        await until_indexed(db)


async def test_two_sidecars_build_indexes_on_leaves_with_equal_truncated_names(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(db, "create table items (id bigint primary key, title text) partition by range (id)")
    for i in range(3):
        await run(db, f"create table {'p' * 60}_{i} partition of items for values from ({i}0) to ({i + 1}0)")
    await run(db, "insert into items select i, 'text ' || i from generate_series(0, 29) i")
    table = await watch(db, ["items"], ["title"], index="halfvec")
    async with running_ingest(database_url, encoder), running_ingest(database_url, GatedEncoder()):
        await table.settle_right(encoder)
        await until_indexed(db)
    names = [index for _, index, _ in await run(db, INDEXES)]
    assert len(names) == 4
    assert all(name.endswith(f"_hnsw_{table.watch_id}") for name in names)


async def test_every_leaf_gets_an_ivfflat_index_with_the_lists_of_its_rows(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """And an index of another method takes its place."""
    table = await watch_nested(db, "ivfflat")
    indexes = f"""
        select t.home::text, u.valid, a.amname, c.reloptions from sidecar_internal.watches w
        cross join sidecar_internal.tree_of('items') t join pg_index i on i.indrelid = t.home
        join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam and a.amname in ('hnsw', 'ivfflat')
        cross join lateral (select i.indisvalid) u(valid) where w.id = {table.watch_id}
    """

    async def until_all(*expected: object) -> None:
        async def are_there() -> bool:
            found = {row[0]: tuple(row[1:]) for row in await run(db, indexes)}
            return found == dict.fromkeys(["items", "items_eu", "items_us", *LEAVES], expected)

        await wait_until_async(are_there, f"indexes {expected}", timeout_s=20)

    async with running_ingest(database_url, encoder):
        await until_all(True, "ivfflat", ["lists=10"])
        status = "select index, index_statement from sidecar.status"
        assert await run(db, status) == [(f"public.items_embedding_ivfflat_{table.watch_id}", None)]
        nodes = await nodes_of_search(db, table)
        assert {node["Relation Name"] for node in nodes if node["Node Type"] == "Index Scan"} == LEAVES
        await run(
            db,
            "select sidecar.watch('items', 'title', target => 'embedding', dimensions => %s, index => %s, "
            "replace => true)",
            DIMENSIONS,
            "using hnsw with (m = 8)",
        )
        await until_all(True, "hnsw", ["m=8"])
