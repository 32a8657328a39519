"""The owner of a key's type may add casts at any time, without gaining other roles' rights."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import psycopg
import pytest

from sidecar.operations.migrations import migrate
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, WatchedTable, picture, run, user, value, watch
from tests.integration.roles.cast import Stage
from tests.waiting import wait_until_async

# Every function here records the role it runs as, also if the planner calls it; a sequence survives a rollback.
AUDIT = """
set search_path = shop;
create table audit (name text, what text);
grant insert on audit to public; grant usage on schema shop to public;
create sequence other_callers; grant usage on sequence other_callers to public;
create function note(what text) returns void language plpgsql as $f$ begin
    insert into shop.audit values (current_user, what);
    if current_user <> (select relowner::regrole::text from pg_catalog.pg_class where oid = 'shop.audit'::regclass) then
        perform pg_catalog.nextval('shop.other_callers');
    end if;
end $f$;
create function noted(what text) returns boolean language plpgsql immutable as $f$
    begin perform shop.note(what); return true; end $f$;
grant execute on all functions in schema shop to public;
"""
TO = """
create function to_{name}({type}) returns {target} language sql immutable as
    $f$ select case when shop.noted('{type} as {target}') then null::{target} end $f$;
create cast ({type} as {target}) with function to_{name}({type}) {context};
"""
FROM = """
create function from_{name}({target}) returns {type} language sql immutable as
    $f$ select case when shop.noted('{target} as {type}') then null::{type} end $f$;
create cast ({target} as {type}) with function from_{name}({target}) {context};
"""
OPERATORS = """
create function yes({type}, {type}) returns boolean language sql immutable as $f$ select shop.noted('operator') $f$;
create operator shop.= (leftarg = {type}, rightarg = {type}, function = yes);
create operator shop.<> (leftarg = {type}, rightarg = {type}, function = yes);
create operator shop.> (leftarg = {type}, rightarg = {type}, function = yes);
create operator shop.< (leftarg = {type}, rightarg = {type}, function = yes);
"""
TARGETS = ("text", "varchar", "json", "jsonb", "bytea")


@dataclass(frozen=True, slots=True)
class Family:
    """A key's type: the statements that create it, the type that gets the casts, and four keys."""

    type: str
    makes: str
    keys: tuple[str, ...]
    cast_from: str | None = None  # if not the key's type

    def casts(self) -> str:
        """Casts from the type and its array to the types used for text and JSON, and back."""
        base = f"shop.{self.cast_from or self.type}"
        made = OPERATORS.format(type=base)
        for name, target in enumerate(TARGETS):
            made += (TO + FROM).format(name=f"{name}", type=base, target=target, context="as assignment")
            made += (TO + FROM).format(name=f"{name}s", type=f"{base}[]", target=f"{target}[]", context="as assignment")
        return made


FAMILIES = {
    "enum": Family("mood", "create type mood as enum ('a', 'b', 'c', 'd', 'e')", ("'a'", "'b'", "'c'", "'d'")),
    "domain over text": Family(
        "sku",
        "create domain sku as text check (value is null or shop.noted('check'))",
        ("'a'", "'b'", "'c'", "'d'"),
        "forged",
    ),
    "range": Family(
        "span",
        "create function gap(float8, float8) returns float8 language sql immutable as"
        " $f$ select case when shop.noted('gap') then 1::float8 end $f$;"
        "create type span as range (subtype = float8, subtype_diff = gap)",
        ("'[1,2)'", "'[2,3)'", "'(,1)'", "'empty'"),
    ),
    "range over an enum": Family(
        "moods",
        "create type mood as enum ('a', 'b', 'c', 'd', 'e'); create type moods as range (subtype = mood)",
        ("'[a,a]'", "'[b,b]'", "'[c,c]'", "'[d,d]'"),
    ),
}


async def run_all(connection: Connection, script: str) -> None:
    await connection.execute(script.encode())


async def make_items(owner: Connection, family: Family, companion: str | None, casts: str) -> WatchedTable:
    """Watches a table of which two pictures are invalid. `casts` are created 'before' the watch or 'after' it."""
    await run_all(owner, AUDIT)
    if family.cast_from == "forged":
        await run_all(owner, "create type forged as (x text)")
    await run_all(owner, family.makes)
    if casts == "before":
        await run_all(owner, family.casts())
    await run(owner, f"create table items (id {family.type} primary key, photo bytea, w text)")
    first, second, third, _ = family.keys
    await run(
        owner, f"insert into items values ({first}, %s), ({second}, 'none'), ({third}, %s)", picture(1), picture(2)
    )
    table = await watch(owner, ["shop", "items"], ["photo"], companion=companion)
    if casts == "after":
        await run_all(owner, family.casts())
    return table


async def other_callers(stage: Stage, owner: Connection) -> list[tuple[str, str]]:
    """The other roles that ran a function of the owner's, and which one; an unknown role if rolled back."""
    found = [
        row for row in await run(owner, "select distinct name, what from shop.audit") if row[0] != stage.cast.owner
    ]
    if await value(owner, "select is_called from shop.other_callers"):
        found.append(("unknown role", "recorded by the sequence, perhaps in a transaction that was rolled back"))
    return found


READING = [
    "select * from sidecar.status",
    "select * from sidecar.status_exact('shop.items')",
    "select * from sidecar.failures",
    "select * from sidecar.failures_by_reason",
    "select sidecar.search('shop.items', array_fill(0.5::real, array[16])::public.vector::text)",
    "select sidecar.search_exposed('shop.items', array_fill(0.5::real, array[16]), filter => '{\"id\": [\"a\"]}')",
    """
    select sidecar.search_targets('shop.items', array_fill(0.5::real, array[16])::public.vector::text, '{embedding}',
                                  filter => '{"id": ["a"]}', columns => '{id}')
    """,
    "select sidecar_internal.row_vectors('shop.items', 'embedding', array['{\"id\": \"a\"}'::jsonb], '{}')",
    """
    select sidecar.search_targets('shop.items', array_fill(0.5::real, array[16])::public.vector::text, '{embedding}',
                                  filter => '{"id": ["a"]}')
    """,
    """
    select sidecar.search_targets('shop.items', array_fill(0.5::real, array[16])::public.vector::text, '{embedding}',
                                  columns => '{id}', document => '{id}')
    """,
    """
    select sidecar_internal.hybrid_exposed('shop.items', 'embedding', array_fill(0.5::real, array[16]), 'a', '{id}',
                                           'simple', 10, '{}', '{id}', '{}', null, 60, 1, 1)
    """,
    "select sidecar.hybrid_search('shop.items', array_fill(1::real, array[16])::public.vector, '', document => '{w}')",
]


async def read_all(connection: Connection, key: str) -> None:
    """Calls everything that a reader may call. Errors are ignored: only the code that ran matters."""
    key_json = f"jsonb_build_object('id', {key}::text)"
    for statement in (*READING, f"call sidecar.wait_embedded('shop.items', {key_json}, timeout_ms => 0)"):
        try:
            await run(connection, statement)
        except psycopg.Error:
            continue


@pytest.mark.parametrize(("family", "casts"), [(family, casts) for family in FAMILIES for casts in ("before", "after")])
@in_row_and_companion
async def test_no_cast_of_a_keys_type_is_called(
    stage: Stage, owner: Connection, encoder: GatedEncoder, companion: str | None, family: str, casts: str
) -> None:
    table = await make_items(owner, FAMILIES[family], companion, casts)
    await run(owner, f"grant select on all tables in schema shop to {stage.cast.reader}")
    first, second, third, fourth = FAMILIES[family].keys
    async with (
        user(stage.reader) as reader,
        user(stage.admin) as admin,
        running_ingest(stage.worker, encoder, pictures=True),
    ):
        await table.settle()
        assert len(await table.failures()) == 1
        for connection in (reader, admin):
            await read_all(connection, first)
        assert await value(admin, "select sidecar.retry('shop.items')") == 1
        await run(owner, f"delete from items where id = {third}")
        await run(owner, f"update items set photo = %s where id = {second}", picture(3))
        await run(owner, f"update items set id = {fourth} where id = {first}")
        await run(owner, f"insert into items values ({first}, %s)", picture(4))
        await table.settle()
        await run(admin, "select sidecar.verify('shop.items')")
        await run(
            admin, "update sidecar_internal.scans set finished_at = now() - interval '1 day' where purpose = 'sweep'"
        )
        await run(admin, "select sidecar_internal.start_scan(id, 'sweep') from sidecar_internal.watches")
        await table.settle()
        await run(admin, "select sidecar.reembed('shop.items', model => 'any')")
        await table.settle()
        assert not await table.failures()
        for connection in (reader, admin):
            await read_all(connection, fourth)
        await run(owner, "truncate items")
        await table.settle()
        await read_all(admin, first)
    assert await other_callers(stage, owner) == []
    assert await run(owner, "select * from sidecar_internal.breakages") == []


async def test_the_casts_are_called_by_a_statement_that_casts(stage: Stage, owner: Connection) -> None:
    """Negative control: they run as the role that runs the statement."""
    await make_items(owner, FAMILIES["enum"], None, "after")
    async with user(stage.worker) as worker:
        await run(worker, "select id::text, array['a']::text[]::shop.mood[] from shop.items")
    assert {name for name, _ in await other_callers(stage, owner)} == {stage.cast.worker, "unknown role"}


REFUSED = {
    "composite": "create type bad as (x bigint)",
    "range over a domain": "create domain d as int check (shop.noted('check')); create type bad as range (subtype = d)",
    "range over a composite": "create type c as (x int); create type bad as range (subtype = c)",
    "multirange over a domain": "create domain d as int check (shop.noted('check'));"
    "create type r as range (subtype = d, multirange_type_name = bad)",
    "domain over an enum": "create type e as enum ('a'); create domain bad as e",
    "array of an enum": "create type e as enum ('a'); create domain bad as e[]",
    "extension's type": "create domain bad as public.vector",
    "enum with an implicit cast": "create type bad as enum ('a'); create cast (bad as text) with inout as implicit",
}


@pytest.mark.parametrize("type_", REFUSED)
async def test_key_types_that_cannot_be_made_safe_are_refused(stage: Stage, owner: Connection, type_: str) -> None:
    await run_all(owner, AUDIT)
    await run_all(owner, REFUSED[type_])
    await run(owner, "create table items (id bad primary key, title text)")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="cannot be a key here"):
        await run(owner, "select sidecar.watch('shop.items', 'title', dimensions => 16)")
    assert await other_callers(stage, owner) == []


async def test_an_implicit_cast_created_after_the_watch_breaks_it_until_dropped(
    stage: Stage, owner: Connection, admin: Connection, encoder: GatedEncoder
) -> None:
    """The cast makes every comparison of the type's values ambiguous, an error in Postgres."""
    table = await make_items(owner, FAMILIES["enum"], None, "never")
    async with running_ingest(stage.worker, encoder, pictures=True):
        await table.settle()
        await run_all(owner, TO.format(name="text", type="shop.mood", target="text", context="as implicit"))
        async with user(stage.reader) as reader:
            state = await value(reader, "select state from sidecar.status")
            assert "key column id has type shop.mood: its implicit cast makes comparisons" in state
            await read_all(reader, "'a'")
        await read_all(admin, "'a'")
        await run(owner, "insert into items values ('d', %s)", picture(5))
        await run(owner, "drop cast (mood as text)")

        async def is_intact() -> bool:
            return not str(await value(owner, "select state from sidecar.status")).startswith("broken")

        await wait_until_async(is_intact, "the watch to be whole again")
        await table.settle()
    assert await other_callers(stage, owner) == []


SWAPS = {
    "key": "alter table items rename id to former_id; alter table items add column id forged",
    "source": "alter table items rename photo to former_photo; alter table items add column photo forged",
    "target": "alter table items rename embedding to former_embedding; alter table items add column embedding forged",
}
FORGED = """
create type forged as (x text);
""" + "".join(
    TO.format(name=f"forged_{n}", type="shop.forged", target=target, context="as implicit")
    + FROM.format(name=f"forged_{n}", type="shop.forged", target=target, context="as assignment")
    for n, target in enumerate(("bigint", "text", "bytea", "public.vector", "json", "public.halfvec"))
)


@pytest.mark.parametrize("swap", SWAPS)
async def test_replacing_a_column_by_one_of_another_type_under_a_running_sidecar_calls_no_cast(
    stage: Stage, owner: Connection, admin: Connection, encoder: GatedEncoder, swap: str
) -> None:
    """Postgres parses the sidecar's statements again at once, before the sidecar reloads its watches."""
    await run_all(owner, AUDIT + FORGED)
    await run(owner, "create table items (id bigint primary key, photo bytea)")
    for i in range(6):
        await run(owner, "insert into items values (%s, %s)", i, picture(i))
    table = await watch(owner, ["shop", "items"], ["photo"])
    encoder.close()
    try:
        async with running_ingest(stage.worker, encoder, pictures=True, batch_max_views=1):
            await encoder.until_held()
            await run_all(owner, SWAPS[swap])
            await run(owner, "insert into sidecar_internal.events_1 (k1) select i from generate_series(0, 5) i")
            encoder.open()

            async def is_noticed() -> bool:
                return str(await value(owner, "select state from sidecar.status")).startswith("broken")

            await wait_until_async(is_noticed, "the fault to be noticed")
            await read_all(admin, "'1'")
            await read_all(owner, "'1'")
            await asyncio.to_thread(migrate, stage.installer)
    finally:
        encoder.open()
    assert table.watch_id == 1
    assert await other_callers(stage, owner) == []


FORGED_VECTOR = "create type forged as (x text);" + "".join(
    # Not inlined: the planner evaluates constant parts of an index's expressions, as the role that searches.
    f"""
    create function to_{name}(shop.forged) returns {target} language plpgsql immutable as
        $f$ begin perform shop.note('{target}'); return null; end $f$;
    create cast (shop.forged as {target}) with function to_{name}(shop.forged) as implicit;
    """
    for name, target in enumerate(("text", "public.vector", "public.halfvec"))
)


async def test_vectors_of_a_forged_type_are_not_cast_by_searches_and_measurements(
    stage: Stage, owner: Connection, admin: Connection
) -> None:
    """Even with an index that looks like the sidecar's, on an expression that calls the forged cast."""
    await run_all(owner, AUDIT + FORGED_VECTOR)
    await run(owner, "create table items (id bigint primary key, photo bytea, w text)")
    await watch(owner, ["shop", "items"], ["photo"])
    await run_all(
        owner,
        f"""
        {SWAPS["target"]};
        insert into items (id, photo, embedding) values (1, 'x', row('x')), (2, 'x', row('y'));
        create index on items using hnsw ((embedding::public.halfvec(16)) public.halfvec_cosine_ops);
        """,
    )
    await run(admin, "select sidecar.set_labels('shop.items', array['a'])")
    await run(admin, "update sidecar_internal.labels set fingerprint = 'f', vector = array_fill(0.5::real, array[16])")
    await run(admin, "update sidecar_internal.watches set fingerprint = 'f'")
    for statement in (
        "select * from sidecar.recall('shop.items')",
        "select * from sidecar.recall('shop.items', filter => '{\"id\": {\"$gt\": 0}}')",
        "select * from sidecar.labels('shop.items')",
    ):
        with suppress(psycopg.Error):
            await run(admin, statement)
    await read_all(admin, "'1'")
    assert await other_callers(stage, owner) == []
