"""Situations in which a trigger must not fail a user's statement or spill to disk."""

from __future__ import annotations

import pytest

from tests.integration.sql.queue import fail, take_events, take_keys
from tests.integration.sql.session import Connection, run, value

WIDE = "(select string_agg(sha256((i * 1000 + j)::text::bytea), '') from generate_series(1, 600) j)"  # 19,200 bytes


def run_without_files(db: Connection, statement: str) -> None:
    run(db, "set local work_mem = '64kB'; set local temp_file_limit = 0")
    run(db, statement)
    run(db, "set local temp_file_limit = -1")


@pytest.mark.parametrize("companion", [None, "item_vectors"])
def test_triggers_of_bulk_statements_write_no_temporary_files(db: Connection, companion: str | None) -> None:
    run(db, "create table items (id int primary key, title text, photo bytea)")
    watch_id = value(
        db, "select sidecar.watch('items', source => 'photo', companion => %s, dimensions => 3)", companion
    )
    run_without_files(db, f"insert into items select i, 'x', {WIDE} from generate_series(1, 150) i")
    run(db, "create temp table narrow as select i, 'narrow' from generate_series(1000, 4999) i")
    run_without_files(db, "insert into items select * from narrow")
    run(db, "set local temp_file_limit = 0")
    with db.cursor() as cursor, cursor.copy("copy items (id, photo) from stdin") as copy:
        for i in range(200, 250):
            copy.write_row((i, "\\x" + "ab" * 20_000))
    run(db, "set local temp_file_limit = -1")
    assert len(take_keys(db, watch_id)) == 4200
    if companion:
        run(db, "insert into item_vectors select id, '[1,2,3]' from items")
        run_without_files(db, "delete from item_vectors")
        assert len(take_keys(db, watch_id)) == 4200
    run_without_files(db, "delete from items")
    assert len(take_keys(db, watch_id)) == 4200


WRITES = {
    "insert": ("insert into items values (10, 'new'), (11, 'new')", [10, 11]),
    "update": ("update items set title = 'new' where id < 3", [1, 2]),
    "a new key": ("update items set id = id + 100 where id < 3", [1, 2, 101, 102]),
    "another vector": ("update item_vectors set title_embedding = '[3,2,1]' where id = 1", [1]),
    "a lost vector": ("delete from item_vectors where id < 3", [1, 2]),
    "delete": ("delete from items where id < 3", [1, 2]),
    "truncate": ("truncate items", [None]),
    "retry": ("select sidecar.retry('items')", [3]),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_generation_sequence_that_lags_behind_restored_events_fails_no_statement(db: Connection, write: str) -> None:
    run(db, "create table items (id int primary key, title text)")
    watch_id = value(
        db, "select sidecar.watch('items', source => 'title', companion => 'item_vectors', dimensions => 3)"
    )
    run(db, "insert into items select i, 'x' from generate_series(1, 5) i")
    run(db, "insert into item_vectors select i, '[1,2,3]' from generate_series(1, 5) i")
    fail(db, watch_id, 3)
    take_keys(db, watch_id)
    lowest = value(db, "select nextval('sidecar_internal.generation')")
    run(
        db,
        f"insert into sidecar_internal.events_{watch_id} (gen, k1) select {lowest} + i, -1 from "
        "generate_series(1, 40) i",
    )
    run(db, "select setval('sidecar_internal.generation', %s)", lowest)

    statement, keys = WRITES[write]
    run(db, statement)

    assert [key for key in take_keys(db, watch_id) if key != -1] == keys
    assert run(db, "select * from sidecar_internal.breakages") == []


def test_events_enqueued_while_the_generation_lagged_do_not_count_as_before_a_truncate(db: Connection) -> None:
    run(db, "create table items (id int primary key, title text)")
    watch_id = value(db, "select sidecar.watch('items', source => 'title', dimensions => 3)")
    lowest = value(db, "select nextval('sidecar_internal.generation')")
    run(db, "update sidecar_internal.watches set truncated_gen = %s", lowest + 1000)
    run(db, "insert into items values (1, 'a')")
    run(db, "truncate items")
    run(db, "insert into items values (2, 'b'), (3, 'c')")

    run(db, "select sidecar_internal.raise_generation()")

    events = take_events(db, watch_id, "gen, k1")
    assert [key for _, key in events] == [1, None, 2, 3]
    assert min(gen for gen, _ in events) > lowest + 1000


def test_the_trigger_condition_calls_no_function_that_the_user_may_not_call(db: Connection) -> None:
    """A BEFORE trigger makes the update trigger one without `OF`, whose comparison runs for every update."""
    run(
        db,
        """
        create role shop_user;
        create table items (id int primary key, title text, title_embedding vector(3), price int);
        grant all on items to shop_user;
        create function touch() returns trigger language plpgsql as 'begin return new; end';
        create trigger touch before update on items for each row execute function touch();
        insert into items values (1, 'a', '[1,2,3]', 1);
        """,
    )
    watch_id = value(db, "select sidecar.watch('items', source => 'title', dimensions => 3)")
    run(
        db,
        """
        do $$
        declare f regprocedure;
        begin
            for f in select d.objid::regprocedure from pg_depend d join pg_extension e on e.oid = d.refobjid
                     where e.extname = 'vector' and d.classid = 'pg_proc'::regclass
                       and d.objid in (select oid from pg_proc where prokind = 'f') loop
                execute format('revoke execute on function %s from public', f);
            end loop;
        end $$
        """,
    )
    run(db, "set local role shop_user")
    run(db, "update items set price = 2")
    run(db, "update items set title = 'b'")
    run(db, "reset role")
    assert take_events(db, watch_id, "k1, force") == [(1, False)]


def test_an_update_can_repair_a_row_whose_virtual_column_raises(db: Connection) -> None:
    if db.info.server_version < 180000:
        pytest.skip("virtual generated columns came with Postgres 18")
    run(
        db,
        """
        create table items (id int primary key, a int, price int, t text generated always as ((100 / a)::text) virtual);
        insert into items values (1, 0, 1), (2, 5, 1);
        """,
    )
    watch_id = value(db, "select sidecar.watch('items', source => 't', dimensions => 3)")
    run(db, "update items set price = 2")
    assert take_keys(db, watch_id) == []
    run(db, "update items set a = 4")
    assert take_keys(db, watch_id) == [1, 2]
    run(db, "update items set a = 0 where id = 2")
    assert take_keys(db, watch_id) == [2]
    run(db, "alter table items rename t to described")
    run(db, "select sidecar_internal.follow_changes()")
    assert value(db, "select source from sidecar_internal.watches") == ["described"]


FAMILIES = {
    "enum": ("create type key as enum ('a', 'b')", "'a'", "'b'"),
    "range": ("create type key as range (subtype = int4)", "'[1,2)'", "'[3,4)'"),
    "domain": ("create domain key as int", "1", "2"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cast_to_text_created_after_the_watch_is_never_called(db: Connection, family: str) -> None:
    create, one, other = FAMILIES[family]
    run(db, create)
    run(db, "create table items (id key primary key, title text, note key)")
    base = value(
        db,
        "select format_type(b.type, -1) from pg_type t cross join sidecar_internal.base_type(t.oid, -1) b "
        "where typname = 'key'",
    )
    watch_id = value(db, "select sidecar.watch('items', source => 'title', dimensions => 3)")
    if base != "integer":
        run(
            db,
            f"""
            create function evil(x {base}) returns text language plpgsql as $$
                begin raise exception 'called as %', current_user; end $$;
            create cast ({base} as text) with function evil({base}) as implicit;
            """,
        )
    run(db, f"insert into items values ({one}, 'a')")
    run(db, f"update items set id = {other}")
    run(db, f"update items set title = 'b', id = {one}")
    run(db, "delete from items")
    assert len(take_events(db, watch_id, "gen")) == 6
    assert run(db, "select * from sidecar_internal.breakages") == []


def test_triggers_enqueue_nothing_in_a_schema_restored_without_its_rows(db: Connection) -> None:
    """As after restoring a schema-only dump: sequences are reset, and tables are empty."""
    run(db, "create table items (id int primary key, title text)")
    watch_id = value(db, "select sidecar.watch('items', source => 'title', companion => 'vectors', dimensions => 3)")
    run(
        db,
        f"alter sequence sidecar_internal.asleep_{watch_id} restart; create temp table kept as select * from "
        "sidecar_internal.watches",
    )
    run(db, "delete from sidecar_internal.watches")
    for statement in (
        "insert into items values (1, 'a')",
        "update items set title = 'b'",
        "delete from items",
        "truncate items",
    ):
        run(db, statement)
    assert take_keys(db, watch_id) == []

    run(db, "insert into sidecar_internal.watches overriding system value select * from kept")
    run(db, "insert into items values (1, 'a')")
    assert take_keys(db, watch_id) == [1]
    assert run(db, "select * from sidecar_internal.breakages") == []
