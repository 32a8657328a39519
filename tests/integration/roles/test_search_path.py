"""No object of a user runs with the installer's rights, whatever its schema and the search_path."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.ingest.watched_table import Connection, run, user, value
from tests.integration.roles.cast import Stage
from tests.integration.roles.items import watch_texts

# The functions that run with the installer's rights; each needs a reason to be here.
DEFINERS = {
    "report_breakage": "a trigger's fault is recorded for users without rights on our schema",
    "enqueue_1_statement": "triggers enqueue for users without rights on our schema",
    "enqueue_1_row": "triggers enqueue for users without rights on our schema",
    "enqueue_lost_vectors": "triggers enqueue for users without rights on our schema",
    "enqueue_emptied_companion": "triggers enqueue for users without rights on our schema",
    "status_of": "readers see counts, not what is counted",
    "events_of_key": "readers wait for a row of theirs",
    "is_waiting": "readers wait for a row of theirs",
    "state_of_row": "readers wait for a row of theirs",
    "state_of_watch": "readers hear why they wait",
    "backlog": "autoscalers see a number, not what is counted",
    "request_vector": "readers ask for a vector; the table of requests has others' texts",
    "read_answer": "readers wait for the vector that they asked for",
    "embed_in_statement": "only the installer may use the connection that asks",
    "embed_connection_fault": "only the installer may use the connection that asks",
    "follow_changes": "workers take up renamed columns and forget dropped tables",
}

SHADOWS = """
create table {schema}.audit (name text, what text);
grant insert on {schema}.audit to public;
create function {schema}.note(what text) returns boolean language plpgsql as $f$
    begin insert into {schema}.audit values (current_user, what); return true; end $f$;
create function {schema}.clock_timestamp() returns timestamptz language sql
    as $f$ select {schema}.note('clock_timestamp'); select pg_catalog.now() $f$;
create function {schema}.pg_notify(text, text) returns void language sql as $f$ select {schema}.note('pg_notify') $f$;
create function {schema}.format(text, variadic text[]) returns text language plpgsql
    as $f$ begin perform {schema}.note('format'); return 'x'; end $f$;
create function {schema}.nextval(regclass) returns bigint language sql
    as $f$ select {schema}.note('nextval'); select 1::bigint $f$;
create function {schema}.current_setting(text, boolean) returns text language sql
    as $f$ select {schema}.note('current_setting'); select 'on' $f$;
create function {schema}.to_regclass(text) returns regclass language sql
    as $f$ select {schema}.note('to_regclass'); select null::regclass $f$;
create table {schema}.watches (id int); create table {schema}.wake (asleep_until timestamptz);
create table {schema}.events_1 (k1 bigint); create table {schema}.changed_rows (id bigint);
"""
OPERATORS = """
create function {schema}.yes(a {type}, b {type}) returns boolean language plpgsql as $f$
    begin insert into {schema}.audit values (current_user, '{type}'); return true; end $f$;
create operator {schema}.= (leftarg = {type}, rightarg = {type}, function = {schema}.yes);
create operator {schema}.<> (leftarg = {type}, rightarg = {type}, function = {schema}.yes);
create operator {schema}.> (leftarg = {type}, rightarg = {type}, function = {schema}.yes);
create function {schema}.joined(a {type}, b {type}) returns text language plpgsql as $f$
    begin insert into {schema}.audit values (current_user, '{type} ||'); return ''; end $f$;
create operator {schema}.|| (leftarg = {type}, rightarg = {type}, function = {schema}.joined);
"""
TYPES = ("text", "bigint", "integer", "name", "oid", "timestamptz", "jsonb")


async def cast_shadows(attacker: Connection, schema: str) -> None:
    """Creates shadows of everything that the sidecar's functions call, in a schema that is searched first."""
    for statement in SHADOWS.format(schema=schema).replace("\n ", " ").split(";\n"):
        if statement.strip():
            await run(attacker, statement)
    types = TYPES if schema == "public" else (*TYPES, "public.vector")  # public contains the real type
    for type_ in types:
        for statement in OPERATORS.format(schema=schema, type=type_).split("create "):
            if statement.strip():
                await run(attacker, "create " + statement)


async def set_the_stage(stage: Stage, owner: Connection, admin: Connection) -> None:
    await watch_texts(owner, 2, companion="vectors")
    name = stage.cast.outsider
    await run(owner, f"grant usage on schema shop to {name}")
    await run(owner, f"grant select, insert, update, delete, truncate on shop.items, shop.vectors to {name}")
    await run(
        owner,
        "select setval('sidecar_internal.asleep_1', (extract(epoch from now() + interval '1 hour') * 1000)::bigint)",
    )
    await run(owner, "select sidecar.grant_reader(%s::text::regrole)", name)
    await run(admin, f"create schema evil authorization {name}")
    await run(admin, f"grant create on schema public to {name}")


PATHS = ["evil, public, pg_catalog", "pg_temp, evil, pg_catalog", "public, pg_temp, pg_catalog"]


@pytest.mark.parametrize("path", PATHS)
async def test_shadowed_functions_operators_and_types_are_not_called(
    stage: Stage, owner: Connection, admin: Connection, path: str
) -> None:
    await set_the_stage(stage, owner, admin)
    async with user(stage.outsider) as attacker:
        for schema in ("evil", "public"):
            await cast_shadows(attacker, schema)
        await run(attacker, "create temp table changed_rows (id bigint)")
        await run(attacker, "create temp table lost_rows (id bigint)")
        await run(attacker, "create temp table watches (id bigint)")
        await run(attacker, f"set search_path = {path}")
        await run(attacker, "insert into shop.items values (10, 'a'), (11, 'b')")
        await run(attacker, "update shop.items set title = 'c', id = id operator(pg_catalog.+) 100")
        await run(attacker, "insert into shop.vectors select id, null from shop.items where false")
        await run(attacker, "delete from shop.vectors")
        await run(attacker, "delete from shop.items where id operator(pg_catalog.=) 101")
        await run(attacker, "select * from sidecar.status")
        await run(attacker, "select * from sidecar.status_exact('shop.items')")
        await run(attacker, "select * from sidecar.failures")
        with pytest.raises(psycopg.Error, match="was not embedded"):
            await run(attacker, """call sidecar.wait_embedded('shop.items', '{"id": 102}', timeout_ms => 0)""")
        await run(
            attacker, "select sidecar_internal.events_of_key(1, '{\"id\": 102}'), sidecar_internal.state_of_watch(1)"
        )
        await run(attacker, "truncate shop.items")
        seen = await run(attacker, "select name, what from evil.audit union select name, what from public.audit")
    assert {name for name, _ in seen} <= {stage.cast.outsider}, seen
    assert await value(owner, "select count(*) from sidecar_internal.events_1") > 5, (
        "the triggers fired and enqueued events"
    )
    assert await run(owner, "select * from sidecar_internal.breakages") == []


async def test_the_shadows_are_called_by_a_function_without_a_pinned_search_path(
    stage: Stage, owner: Connection, admin: Connection
) -> None:
    """Negative control: they run with the rights of the function's owner."""
    await set_the_stage(stage, owner, admin)
    await run(owner, "create table shop.log (at timestamptz)")
    await run(
        owner,
        """
        create function shop.careless() returns void language plpgsql security definer as $$
            begin insert into shop.log values (clock_timestamp()); end $$
        """,
    )
    async with user(stage.outsider) as attacker:
        await cast_shadows(attacker, "evil")
        await run(attacker, "grant usage on schema evil to public")
        await run(attacker, f"set search_path = {PATHS[0]}")
        await run(attacker, "select shop.careless()")
        assert await run(attacker, "select distinct name from evil.audit") == [(stage.cast.owner,)]


async def test_no_security_definer_function_takes_a_row_of_watches(stage: Stage, owner: Connection) -> None:
    """Their arguments are numbers, tables and keys, so a forged row of `watches` cannot be passed to them."""
    await watch_texts(owner, 1)
    composite = """
        select p.proname from pg_proc p
        where p.pronamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace) and p.prosecdef
          and 'sidecar_internal.watches'::regtype = any (p.proargtypes::oid[])
    """
    assert await run(owner, composite) == []


async def test_every_function_pins_its_search_path_and_only_listed_ones_are_security_definer(
    stage: Stage, owner: Connection
) -> None:
    await watch_texts(owner, 1)
    functions = await run(
        owner,
        """
        select p.proname, p.prosecdef, coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false),
               p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0)
        from pg_proc p where p.pronamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace)
        """,
    )
    assert {name for name, _, _, is_public in functions if is_public} == set()
    assert {name for name, is_definer, _, _ in functions if is_definer} == set(DEFINERS)
    loose = {name for name, _, is_pinned, _ in functions if not is_pinned}
    assert loose <= {
        "hybrid_search",
        "exactly",
        *("embed", "embed_content", "enable_embed", "find_query_model"),  # see test_trigger_rights
    }  # needs pgvector's operators; names no object
