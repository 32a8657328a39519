"""sidecar.unwatch ends a watch and keeps the vectors, unless `drop_target`."""

from __future__ import annotations

import pytest

from tests.integration.sql.queue import embed, fail
from tests.integration.sql.session import Connection, refused, run, value, warnings_of


@pytest.fixture(params=[None, "vectors"], ids=["in-row", "companion"])
def watch_id(request: pytest.FixtureRequest, db: Connection) -> int:
    run(db, "create table items (id int primary key, title text)")
    watch: int = value(
        db,
        "select sidecar.watch('items', 'title', target => 'e', dimensions => 3, companion => %s)",
        request.param,
    )
    run(db, "insert into items values (1, 'a'), (2, 'b'), (3, 'c')")
    embed(db, watch, 1)
    fail(db, watch, 2)
    run(db, "select sidecar.pause('items')")
    return watch


def _objects(db: Connection) -> list[str]:
    """Tables, functions and triggers that belong to a single watch."""
    rows = run(
        db,
        """
        select c.relname from pg_class c
            where relnamespace = 'sidecar_internal'::regnamespace and relkind = 'r' and relname ~ '[0-9]$'
        union all select p.proname from pg_proc p where p.pronamespace = 'sidecar_internal'::regnamespace and proname ~
            '_[0-9]'
        union all select t.tgname from pg_trigger t where not tgisinternal
        union all select 'scan' from sidecar_internal.scans union all select 'failure' from sidecar_internal.failures
        union all select 'breakage' from sidecar_internal.breakages
        """,
    )
    return sorted(name for (name,) in rows)


def test_unwatch_keeps_only_the_vectors_and_the_ledger(db: Connection, watch_id: int) -> None:
    run(db, "insert into sidecar_internal.breakages (watch_id, code, message) values (%s, 'x', 'y')", watch_id)
    with warnings_of(db) as warnings:
        run(db, "select sidecar.unwatch('items', 'e')")
    assert warnings == []
    assert _objects(db) == [f"ledger_{watch_id}"]
    assert run(db, "select paused, unwatched_at is not null from sidecar_internal.watches") == [(False, True)]
    assert run(db, "select * from sidecar.status") == run(db, "select * from sidecar.failures") == []
    run(db, "update items set title = 'new'")
    home = value(db, "select coalesce(companion, relation)::text from sidecar_internal.watches")
    assert run(db, f"select e from {home} where false") == []


def test_unwatch_with_drop_target_leaves_nothing(db: Connection, watch_id: int) -> None:
    run(db, "select sidecar.unwatch('items', drop_target => true)")
    assert _objects(db) == []
    assert value(db, "select count(*) from sidecar_internal.watches") == 0
    assert value(db, "select to_regclass('vectors')") is None
    assert value(db, "select count(*) from pg_attribute where attrelid = 'items'::regclass and attname = 'e'") == 0


def test_drop_target_works_after_the_watch_has_ended(db: Connection, watch_id: int) -> None:
    run(db, "select sidecar.unwatch('items')")
    run(db, "select sidecar.unwatch('items', drop_target => true)")
    assert _objects(db) == []
    assert value(db, "select to_regclass('vectors')") is None


def test_drop_target_works_after_the_watch_has_ended_and_beside_another_watch(db: Connection, watch_id: int) -> None:
    run(db, "select sidecar.watch('items', 'title', target => 'f', dimensions => 3)")
    run(db, "select sidecar.unwatch('items', 'e')")
    run(db, "select sidecar.unwatch('items', 'e', drop_target => true)")
    assert run(db, "select target from sidecar_internal.watches") == [("f",)]


def test_the_statement_in_status_removes_a_watch_on_a_dropped_table(db: Connection, watch_id: int) -> None:
    run(db, "drop table items cascade")
    state = value(db, "select state from sidecar.status")
    said, _, call = state.partition(": select ")
    assert said == "broken: the table is gone"
    run(db, f"select {call}")
    assert _objects(db) == []
    assert value(db, "select count(*) from sidecar_internal.watches") == 0


def test_unwatching_an_unwatched_table_is_an_error_that_names_the_watched_ones(db: Connection, watch_id: int) -> None:
    run(db, "create table others (id int primary key, title text)")
    with refused(db, "42704", "table public.others is not watched", "select sidecar.watch"):
        run(db, "select sidecar.unwatch('others')")
    with refused(db, "42704", "has no watch with target 'f'", "Its targets: 'e'"):
        run(db, "select sidecar.unwatch('items', 'f')")
    run(db, "select sidecar.watch('items', 'title', target => 'f', dimensions => 3)")
    with refused(db, "42702", "has 2 watches", "one of: 'e', 'f'"):
        run(db, "select sidecar.unwatch('items')")
    run(db, "select sidecar.unwatch('items', 'f')")
    run(db, "select sidecar.unwatch('items')")
    drop = r"select sidecar.unwatch\('public.items', '{}', drop_target => true\);"
    with refused(db, "42704", "table public.items is no longer watched", f"{drop.format('e')} {drop.format('f')}"):
        run(db, "select sidecar.unwatch('items')")
    with refused(db, "42704", "public.items.f is no longer watched", drop.format("f")):
        run(db, "select sidecar.unwatch('items', 'f')")
    with refused(db, "42702", "has 2 watches that have ended", f"Name the target: {drop.format('e')}"):
        run(db, "select sidecar.unwatch('items', drop_target => true)")


def test_unwatch_succeeds_after_the_companion_was_dropped(db: Connection, watch_id: int) -> None:
    run(db, "drop table if exists vectors cascade")
    run(db, "select sidecar.unwatch('items', drop_target => true)")
    assert _objects(db) == []


def test_unwatch_keeps_other_watches_of_the_table(db: Connection, watch_id: int) -> None:
    other = value(db, "select sidecar.watch('items', 'title', target => 'f', dimensions => 3)")
    run(db, "select sidecar.unwatch('items', 'e')")
    run(db, "update items set title = 'new' where id = 1")
    assert run(db, f"select k1 from sidecar_internal.events_{other}") == [(1,)]


def test_a_table_that_reuses_the_oid_of_a_dropped_companion_is_not_dropped(db: Connection) -> None:
    """A dump holds the OID of a dropped table, and a restore may assign it to another one."""
    run(db, "create table items (id int primary key, title text); create table others (id int primary key)")
    run(db, "select sidecar.watch('items', 'title', target => 'e', companion => 'vectors', dimensions => 3)")
    run(db, "drop table vectors cascade")
    run(db, "update sidecar_internal.watches set companion = 'others' where relation = 'items'::regclass")
    run(db, "select sidecar.unwatch('items', 'e', drop_target => true)")
    assert value(db, "select to_regclass('others') is not null")
