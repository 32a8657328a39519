"""Triggers run with the installer's rights, also for users without any, and look up nothing in users' schemas."""

from __future__ import annotations

import pytest

from tests.integration.sql.queue import take_events, take_keys
from tests.integration.sql.session import Connection, refused, run, value


@pytest.fixture
def watch_id(db: Connection) -> int:
    """A watch on items; the session's role `shop_user` may write to it and has no rights on schema `sidecar`."""
    run(
        db,
        """
        create role shop_user;
        create table items (id int primary key, title text, title_embedding vector(3));
        grant all on items to shop_user;
        """,
    )
    watch: int = value(db, "select sidecar.watch('items', source => 'title', dimensions => 3)")
    return watch


def test_a_user_without_rights_on_schema_sidecar_can_write_to_a_watched_table(db: Connection, watch_id: int) -> None:
    run(db, "set local role shop_user")
    run(db, "insert into items values (1, 'a'), (2, 'b')")
    run(db, "update items set title = 'c' where id = 1")
    run(db, "update items set title_embedding = '[1,2,3]' where id = 1")
    run(db, "delete from items where id = 2")
    run(db, "truncate items")
    with refused(db, "42501", "permission denied for schema sidecar_internal", ""):
        run(db, f"select * from sidecar_internal.events_{watch_id}")
    run(db, "reset role")
    assert take_keys(db, watch_id) == [1, 1, 1, 2, 2, None]


def test_users_cannot_call_the_sidecars_functions(db: Connection, watch_id: int) -> None:
    run(db, "grant usage on schema sidecar, sidecar_internal to shop_user")
    callable_by_all = run(
        db,
        """
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace) and
            has_function_privilege('shop_user', p.oid, 'execute')
        """,
    )
    assert callable_by_all == []


def test_every_function_pins_its_search_path(db: Connection, watch_id: int) -> None:
    loose = run(
        db,
        """
        select p.proname from pg_proc p where p.pronamespace in ('sidecar'::regnamespace,
            'sidecar_internal'::regnamespace)
            and not 'search_path=pg_catalog, pg_temp' = any (coalesce(p.proconfig, '{}'))
        """,
    )
    # The first names no object. The others look tables up by the caller's path, or commit, which allows no settings;
    # they run with the caller's rights, and name every object with its schema.
    callers = {"embed", "embed_content", "enable_embed", "find_query_model"}
    assert {name for (name,) in loose} == {"exactly", *callers}


_HOSTILE_FUNCTIONS = """
create function evil.hijack() returns void language plpgsql as $$ begin raise exception 'hijacked'; end $$;
create function evil.clock_timestamp() returns timestamptz language sql as 'select evil.hijack(); select now()';
create function evil.pg_notify(text, text) returns void language sql as 'select evil.hijack()';
create function evil.current_setting(text, boolean) returns text language sql
    as $$ select evil.hijack(); select 'on' $$;
"""
_HOSTILE_OPERATORS = """
create function evil.hijack(a {type}, b {type}) returns boolean language plpgsql as $$
    begin raise exception 'hijacked'; end $$;
create operator evil.= (leftarg = {type}, rightarg = {type}, function = evil.hijack);
create operator evil.<> (leftarg = {type}, rightarg = {type}, function = evil.hijack);
"""


def test_triggers_use_no_operators_or_functions_from_users_schemas(db: Connection, watch_id: int) -> None:
    run(db, f"select setval('sidecar_internal.asleep_{watch_id}', (extract(epoch from now()) * 1000)::bigint + 60000)")
    run(db, "create schema evil authorization shop_user")
    run(db, "set local role shop_user")
    run(db, _HOSTILE_FUNCTIONS)
    for type_ in ("text", "integer", "public.vector"):
        run(db, _HOSTILE_OPERATORS.format(type=type_))
    run(db, "create temp table wake (asleep_until timestamptz); create temp table events (k1 int)")
    run(db, "set local search_path = evil, pg_temp, public, pg_catalog")
    run(db, "insert into public.items values (1, 'a')")
    run(db, "update public.items set title = 'b', title_embedding = '[1,2,3]'")
    run(db, "update public.items set title_embedding = '[1,2,4]'")
    run(db, "update public.items set id = 2")
    run(db, "delete from public.items")
    run(db, "reset role")
    run(db, "set local search_path = public")
    assert sorted(take_events(db, watch_id, "k1, force")) == [
        (1, False), (1, False), (1, False), (1, True), (1, True), (2, False), (2, False),
    ]  # fmt: skip


def test_watch_uses_no_objects_from_the_callers_search_path(db: Connection) -> None:
    run(db, "create schema evil")
    run(db, _HOSTILE_FUNCTIONS)
    for type_ in ("text", "name", "oid", "integer"):
        run(db, _HOSTILE_OPERATORS.format(type=type_))
    run(db, "create table items (id int primary key, title text)")
    run(db, "set local search_path = evil, public, pg_catalog")
    watch_id = value(db, "select sidecar.watch('public.items', source => 'title', dimensions => 3)")
    run(db, "insert into public.items values (1, 'a')")
    run(db, "select * from sidecar.status")
    run(db, "select sidecar.pause('public.items'), sidecar.resume(), sidecar.retry('public.items')")
    run(db, "set local search_path = public")
    assert take_keys(db, watch_id) == [1]


def test_a_domains_check_does_not_run_with_the_rights_of_the_caller_of_watch(db: Connection) -> None:
    run(
        db,
        """
        create role shop_user;
        create table seen_by (name text);
        create function spy(text) returns boolean language plpgsql as $$
            begin insert into public.seen_by values (current_user); return true; end $$;
        create domain sku as text not null check (spy(value));
        create table items (id sku primary key, title sku, price int);
        grant all on items, seen_by to shop_user;
        """,
    )
    watch_id = value(db, "select sidecar.watch('items', source => 'title', dimensions => 3)")
    run(db, "set local role shop_user")
    run(db, "insert into items values ('a', 'x')")
    run(db, "update items set title = 'y', id = 'b'")
    run(db, "truncate items")
    run(db, "reset role")
    assert run(db, "select distinct name from seen_by") == [("shop_user",)]
    assert take_keys(db, watch_id) == ["a", "a", "b", None]
