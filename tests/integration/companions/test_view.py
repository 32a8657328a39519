"""The view next to a companion joins it to its table, without vectors of deleted rows."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import make_texts
from tests.integration.ingest.watched_table import Connection, run, user, value, watch
from tests.waiting import wait_until_async

COLUMNS = """
    select array_agg(attname::text order by attnum) from pg_attribute
    where attrelid = %s::text::regclass and attnum > 0 and not attisdropped
"""


def listen(db: Connection) -> list[str]:
    heard: list[str] = []
    db.add_notice_handler(lambda d: heard.append(f"{d.severity} {d.message_primary}"))
    return heard


async def test_the_view_joins_and_hides_vectors_of_deleted_rows(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    heard = listen(db)
    table = await make_texts(db, 5, companion="vectors", index="halfvec")
    assert "NOTICE public.vectors_view joins public.items and its vectors" in heard
    assert await value(db, "select companion_view::text from sidecar_internal.watches") == "vectors_view"
    assert await value(db, COLUMNS, "vectors_view") == ["id", "title", "embedding"]
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        wanted = str(encoder.vector_of("title 3").tolist())
        nearest = "select id, title from vectors_view order by embedding::halfvec(16) <=> %s::halfvec(16) limit 1"
        assert await run(db, nearest, wanted) == [(3, "title 3")]
    await run(db, "delete from items where id = 3")  # no sidecar is running that would delete its vector
    assert await value(db, "select count(*) from vectors where id = 3") == 1
    assert (await run(db, nearest, wanted))[0][0] != 3


async def test_the_index_serves_the_view_and_the_documented_query(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 50, companion="vectors", index="halfvec")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    await run(db, (await value(db, "select index_statement from sidecar.status")) or "select 1")
    await run(db, "set enable_sort = off")
    wanted = str(encoder.vector_of("title 3").tolist())
    by_view = f"select * from vectors_view order by embedding::halfvec(16) <=> '{wanted}'::halfvec(16) limit 5"
    documented = (await value(db, "select query from sidecar.status")).replace("$1", f"'{wanted}'")
    for query in (by_view, documented):
        plan = "\n".join(row[0] for row in await run(db, f"explain {query}"))
        assert "Index Scan using vectors_embedding_hnsw_1" in plan, plan


async def test_columns_named_like_the_target_or_a_key_column_do_not_conflict_in_the_view(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """The table has a column named like the target, and one named like a key column of ours."""
    await run(db, "create table items (id int primary key, title text, embedding text, k1 int)")
    await run(db, "insert into items values (1, 'a', 'mine', 7)")
    table = await watch(db, ["items"], ["title"], companion="vectors")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        query = await value(db, "select query from sidecar.status")
        await run(db, f"prepare nearest as {query}")
        assert await run(db, f"execute nearest ('{encoder.vector_of('a').tolist()}')") == [(1, "a", "mine", 7)]
    assert await value(db, "select embedding is not null from vectors_view")


async def test_the_view_follows_renames_and_does_not_block_changes_of_other_columns(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await make_texts(db, 2, companion="vectors")
    await run(db, "alter table items rename to things")
    await run(db, "alter table vectors rename to thing_vectors")
    await run(db, "alter view vectors_view rename to searchable")
    await run(db, "alter table things rename to items")
    await run(db, "alter table items drop column price")
    await run(db, "alter table items add column stock int")
    titles = "select array_agg(title order by id) from searchable"

    async def all_there() -> bool:
        return bool(await value(db, titles) == ["title 1", "title 2", "title 3"])

    async with running_ingest(database_url, encoder):
        await run(db, "insert into items values (3, 'title 3')")
        await wait_until_async(all_there, "three rows in the view")
    await run(db, "select sidecar.unwatch('items', 'embedding', drop_target => true)")
    assert await value(db, "select to_regclass('searchable')") is None
    assert await value(db, "select to_regclass('thing_vectors')") is None


async def test_a_users_relation_with_the_name_of_the_view_is_not_touched(db: Connection) -> None:
    heard = listen(db)
    await run(db, "create table vectors_view (mine int)")
    await make_texts(db, 1, companion="vectors")
    assert [said for said in heard if "the name public.vectors_view is taken" in said]
    assert await value(db, COLUMNS, "vectors_view") == ["mine"]
    await run(db, "select sidecar.unwatch('items', 'embedding', drop_target => true)")
    assert await value(db, COLUMNS, "vectors_view") == ["mine"]


async def test_unwatch_drops_the_view_and_watch_creates_it_again(db: Connection) -> None:
    """The view would block changes to the watched columns."""
    await make_texts(db, 1, companion="vectors")
    with pytest.raises(psycopg.Error):
        await run(db, "alter table items alter title type varchar(100)")
    await run(db, "select sidecar.unwatch('items')")
    assert await value(db, "select to_regclass('vectors_view')") is None
    await run(db, "alter table items alter title type varchar(100)")
    await watch(db, ["items"], ["title"], companion="vectors")
    assert await value(db, COLUMNS, "vectors_view") == ["id", "title", "embedding"]
    await run(db, "drop view vectors_view")
    await watch(db, ["items"], ["title"], companion="vectors")
    assert await value(db, COLUMNS, "vectors_view") == ["id", "title", "embedding"]


async def test_unwatch_keeps_the_view_if_a_users_view_depends_on_it(db: Connection) -> None:
    heard = listen(db)
    await make_texts(db, 1, companion="vectors")
    await run(db, "create view mine as select * from vectors_view")
    await run(db, "select sidecar.unwatch('items')")
    assert [said for said in heard if "view public.vectors_view stays" in said]
    await watch(db, ["items"], ["title"], companion="vectors")
    await run(db, "select * from mine")
    assert await value(db, "select companion_view::text from sidecar_internal.watches") == "vectors_view"


@pytest.mark.parametrize("table", ["items", "vectors"])
async def test_drop_table_fails_without_cascade_and_names_the_view(db: Connection, table: str) -> None:
    await make_texts(db, 1, companion="vectors")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist) as caught:
        await run(db, f"drop table {table}")
    assert "view vectors_view depends on table" in (caught.value.diag.message_detail or "")
    await run(db, f"drop table {table} cascade")
    await run(db, "select sidecar.unwatch(relation, target) from sidecar_internal.watches")
    assert await value(db, "select to_regclass('vectors_view')") is None


async def test_moving_the_vectors_into_the_row_drops_the_view(db: Connection) -> None:
    await make_texts(db, 1, companion="vectors")
    await watch(db, ["items"], ["title"], replace=True)
    assert await value(db, "select to_regclass('vectors_view')") is None


async def test_the_view_has_the_owner_and_the_readers_of_the_watched_table(database_url: str, db: Connection) -> None:
    await run(db, "create table items (id int primary key, title text)")
    try:
        await run(db, "create role companion_owner")
        await run(db, "create role companion_reader")
        await run(db, "grant create on schema public to companion_owner")
        await run(db, "alter table items owner to companion_owner")
        await run(db, "grant select on items to companion_reader")
        await watch(db, ["items"], ["title"], companion="vectors")
        owners = "select distinct relowner::regrole::text from pg_class where relname in ('vectors', 'vectors_view')"
        assert await run(db, owners) == [("companion_owner",)]
        async with user(database_url) as session:
            await run(session, "set role companion_reader")
            await run(session, "select * from vectors_view")
            await run(session, "select * from vectors")
            await run(db, "revoke select on items from companion_reader")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await run(session, "select * from vectors_view")  # the view does not run with its owner's rights
    finally:
        await run(db, "drop owned by companion_owner, companion_reader cascade")
        await run(db, "drop role companion_owner, companion_reader")


async def test_readers_of_a_table_with_row_security_get_no_rights_on_its_vectors(db: Connection) -> None:
    heard = listen(db)
    await run(db, "create table items (id int primary key, title text)")
    await run(db, "grant select on items to public")
    await run(db, "alter table items enable row level security")
    await watch(db, ["items"], ["title"], companion="vectors")
    assert [said for said in heard if "items has row-level security, which public.vectors does not have" in said]
    readable = "select has_table_privilege('pg_monitor', %s, 'select')"
    assert await value(db, readable, "vectors") is False
    assert await value(db, readable, "vectors_view") is True


async def test_a_users_view_that_reuses_the_oid_is_not_dropped(db: Connection) -> None:
    """A dump holds the OID of a dropped relation, and a restore may assign it to another one."""
    await make_texts(db, companion="vectors")
    await run(db, "drop view vectors_view")
    await run(db, "create view theirs as select id from items")
    await run(db, "update sidecar_internal.watches set companion_view = 'theirs'")
    await run(db, "select sidecar.unwatch('items')")
    assert await value(db, "select to_regclass('theirs') is not null")


async def test_the_oid_of_a_dropped_view_is_cleared(db: Connection) -> None:
    await make_texts(db, companion="vectors")
    await run(db, "select sidecar.unwatch('items')")
    assert await value(db, "select companion_view from sidecar_internal.watches") is None
