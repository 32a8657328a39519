"""The owner of a watched table may change its columns at any time, without gaining the installer's rights."""

from __future__ import annotations

import pytest

from tests.integration.ingest.watched_table import Connection, run, user, value
from tests.integration.roles.cast import Stage
from tests.integration.roles.items import watch_texts

# The owner's cast: an INSERT into a column of the target type calls it, or the planner does, as it is immutable.
FORGERY = """
create table audit (name text);
grant insert on audit to public;
create type forged as (x bigint);
create function note() returns void language sql as $f$ insert into shop.audit values (current_user) $f$;
create function tell(forged) returns bigint language plpgsql immutable as $f$
    begin perform shop.note(); return null; end $f$;
create cast (forged as bigint) with function tell(forged) as implicit;
create function tell_text(forged) returns text language plpgsql immutable as $f$
    begin perform shop.note(); return ''; end $f$;
create cast (forged as text) with function tell_text(forged);
alter table {table} rename id to former_id;
alter table {table} add column id {forged};
"""


async def forge(owner: Connection, table: str, forged: str) -> None:
    await run(owner, "set search_path = shop")
    for statement in FORGERY.format(table=table, forged=forged).split(";\n"):
        if statement.strip():
            await run(owner, statement)
        if statement.startswith("create type"):
            await run(owner, "create domain disguised as forged")


@pytest.mark.parametrize("forged", ["forged", "disguised"])
async def test_the_trigger_does_not_call_a_cast_to_the_keys_type(stage: Stage, owner: Connection, forged: str) -> None:
    await watch_texts(owner, 1)
    await forge(owner, "items", forged)
    await run(owner, f"insert into items (former_id, title, id) values (7, 'a', row(1)::{forged})")
    await run(owner, f"update items set title = 'b', id = row(2)::{forged}")
    await run(owner, "delete from items")
    assert await run(owner, "select * from audit") == []
    assert await run(owner, "select message from sidecar_internal.breakages") == [
        ("the type of a key column has changed",)
    ]


@pytest.mark.parametrize("forged", ["forged", "disguised"])
async def test_the_companions_trigger_does_not_call_a_cast_to_the_keys_type(
    stage: Stage, owner: Connection, forged: str
) -> None:
    await watch_texts(owner, 1, companion="vectors")
    await forge(owner, "vectors", forged)
    vector = "array_fill(0.5::real, array[16])::public.vector"
    await run(owner, f"insert into vectors values (7, {vector}, row(1)::{forged})")
    await run(owner, "delete from vectors")
    assert await run(owner, "select * from audit") == []


async def test_the_forged_cast_is_called_by_a_function_without_the_check(stage: Stage, owner: Connection) -> None:
    """Negative control: the same INSERT by a function that does not check the type."""
    await watch_texts(owner, 1)
    await forge(owner, "items", "forged")
    async with user(stage.installer) as installer:
        await run(installer, "create table sidecar.careless (id bigint)")
        await run(
            installer,
            """
            create function sidecar.careless() returns trigger language plpgsql security definer as $$
                begin insert into sidecar.careless values (new.id); return null; end $$
            """,
        )
    await run(owner, "create trigger careless after insert on items for each row execute function sidecar.careless()")
    await run(owner, "insert into items (former_id, title, id) values (7, 'a', row(1)::forged)")
    assert await value(owner, "select name from audit") == stage.cast.installer


async def test_a_key_of_a_domain_type_is_recorded(stage: Stage, owner: Connection) -> None:
    await run(owner, "create domain shop.item_id as bigint check (value > 0)")
    await run(owner, "create table shop.things (id shop.item_id primary key, title text)")
    await run(owner, "select sidecar.watch('shop.things', 'title', dimensions => 3)")
    await run(owner, "insert into shop.things values (1, 'a')")
    await run(owner, "update shop.things set title = 'b', id = 2")
    assert await run(owner, "select k1 from sidecar_internal.events_1 order by gen") == [(1,), (2,), (1,)]
    assert await run(owner, "select * from sidecar_internal.breakages") == []


async def test_keys_are_not_cast_to_a_new_type_with_the_name_of_the_keys_type(stage: Stage, owner: Connection) -> None:
    await run(owner, "set search_path = shop")
    await run(owner, "create type mood as enum ('glad')")
    await run(owner, "create table audit (name text)")
    await run(owner, "grant insert on audit to public")
    await run(owner, "create table things (id mood primary key, title text)")
    await run(owner, "select sidecar.watch('things', 'title', dimensions => 3)")
    await run(owner, "insert into things values ('glad', 'a')")
    events = """(sidecar_internal.events_of_key(1, '{"id": "glad"}')).gens"""
    state = """sidecar_internal.state_of_row(1, '{"id": "glad"}')"""
    assert await value(owner, f"select {events}") is not None

    await run(owner, "alter type mood rename to former_mood")
    await run(owner, "create type mood as enum ('glad')")
    await run(
        owner,
        "create function note() returns text language sql as 'insert into shop.audit values (user) returning name'",
    )
    for name in ("mood", "former_mood"):  # no operator compares the two types, so both would be cast to text
        await run(owner, f"create function text_of({name}) returns text language sql as 'select shop.note()'")
        await run(owner, f"create cast ({name} as text) with function text_of({name}) as implicit")
    await run(owner, f"select {events}, {state}")
    await run(owner, "alter table things alter column id drop default")
    for change in ("alter table things rename id to former_id", "alter table things add column id mood"):
        await run(owner, change)
    await run(owner, f"select {events}, {state}, sidecar_internal.state_of_watch(1)")
    await run(owner, "select * from sidecar.status_exact('things')")
    assert await run(owner, "select * from audit") == []
