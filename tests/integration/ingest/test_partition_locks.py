"""Reading and writing rows locks the partitions that hold them, not the whole tree."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from sidecar.postgres.database import Connection as OurConnection
from sidecar.postgres.database import Database
from sidecar.postgres.watches import load_watches
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, watch

PARTITIONS = 100
TREES = {
    "range": ("partition by range (id)", "for values from ({i} * 10) to ({i} * 10 + 10)"),
    "hash": ("partition by hash (id)", "for values with (modulus {n}, remainder {i})"),
    "list of another key column": ("partition by list (shop)", "for values in ({i})"),
}
LOCKS = (
    "select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'relation' "
    "and relation in (select c.oid from pg_class c where c.relname like 'items%')"
)


async def make_tree(db: Connection, tree: str, companion: str | None) -> WatchedTable:
    by, bounds = TREES[tree]
    await run(db, f"create table items (shop int, id int, title text, primary key (shop, id)) {by}")
    for i in range(PARTITIONS):
        await run(db, f"create table items_{i} partition of items {bounds.format(i=i, n=PARTITIONS)}")
    return await watch(db, ["items"], ["title"], ["shop", "id"], companion=companion)


async def locks_of(connection: OurConnection, query: str, *parameters: object) -> int:
    """Counts the tables and indexes of the tree that a statement locks, planned as for the sidecar."""
    async with connection.transaction():
        await connection.execute("set local plan_cache_mode = force_custom_plan")
        await connection.fetch(query, *parameters)
        return int(await connection.fetchval(LOCKS))


@pytest.mark.parametrize("tree", TREES)
async def test_statements_on_rows_of_two_partitions_lock_those(database_url: str, db: Connection, tree: str) -> None:
    await make_tree(db, tree, None)
    database = Database(SecretStr(database_url))
    await database.open()
    async with database.connection() as connection:
        [loaded] = await load_watches(connection)
        keys = (["1", "2"], ["11", "25"])
        read = await locks_of(connection, loaded.sql("read_rows"), 10**6, 10**6, True, True, 10**6, 10**6, *keys)
        locked = await locks_of(connection, loaded.sql("lock_rows"), *keys)
        cleared = await locks_of(connection, loaded.sql("clear_vectors_in_row"), *keys)
        rechecked = await locks_of(connection, loaded.sql("recheck_unchanged"), [b"x", b"x"], *keys)
    await database.close()
    most = 2 * 3 + 2  # two partitions with an index or two, the root and its index
    if tree == "hash":
        most = 4 * 3  # each value may be in another partition
    assert max(read, locked, cleared, rechecked) <= most


@in_row_and_companion
async def test_rows_of_a_tree_are_embedded_moved_and_deleted(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_tree(db, "range", companion)
    await run(db, "insert into items select i % 3, i, 'title ' || i from generate_series(1, 300) i")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "update items set title = 'changed' where id between 5 and 40")
        await run(db, "update items set id = id + 500 where id between 50 and 60")
        await run(db, "delete from items where id between 70 and 75")
        await table.settle_right(encoder)
