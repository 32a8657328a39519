"""A reader may see status and failures, wait for rows and search, and may do nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from pydantic import SecretStr

from sidecar.operations.operations import open_operations
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, picture, run, user, value, watch
from tests.integration.roles.cast import Stage
from tests.integration.roles.items import watch_texts


@pytest.fixture
async def reader(stage: Stage) -> AsyncIterator[Connection]:
    async with user(stage.reader) as connection:
        yield connection


async def let_read(stage: Stage, owner: Connection) -> None:
    """Grants the reader what it needs to search `shop.items`."""
    await run(owner, f"grant usage on schema shop to {stage.cast.reader}")
    await run(owner, f"grant select on all tables in schema shop to {stage.cast.reader}")


async def refuses(connection: Connection, statement: str, *sqlstates: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        await run(connection, statement)
    assert caught.value.sqlstate in (sqlstates or ("42501",)), (statement, caught.value)


@in_row_and_companion
async def test_a_reader_sees_status_waits_for_rows_and_searches(
    stage: Stage, owner: Connection, reader: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await watch_texts(owner, 5, companion=companion)
    await let_read(stage, owner)
    async with running_ingest(stage.worker, encoder):
        await run(reader, """call sidecar.wait_embedded('shop.items', '{"id": 3}', timeout_ms => 20000)""")
        await table.settle_right(encoder)
        [(state, rows, embedded, query)] = await run(reader, "select state, rows, embedded, query from sidecar.status")
        assert (state, rows, embedded) == ("up to date", 5, 5)
        assert await value(reader, "select embedded from sidecar.status_exact('shop.items')") == 5
        assert await value(reader, "select sidecar.backlog()") == 0
    wanted = str(encoder.vector_of("title 3").tolist())
    await run(reader, f"prepare nearest as {query}")
    [nearest, *_] = await run(reader, f"execute nearest ('{wanted}')")
    assert nearest[:2] == (3, "title 3")


async def test_wait_embedded_tells_a_reader_why_a_row_is_not_embedded(
    stage: Stage, owner: Connection, reader: Connection, encoder: GatedEncoder
) -> None:
    await run(owner, "create table shop.items (id bigint primary key, photo bytea)")
    await run(owner, "insert into shop.items values (1, 'not a picture'), (2, %s)", picture(1))
    table = await watch(owner, ["shop", "items"], ["photo"])
    await let_read(stage, owner)
    call = """call sidecar.wait_embedded('shop.items', '{"id": 1}', timeout_ms => 0)"""
    with pytest.raises(psycopg.Error, match="was not embedded within 0 ms") as caught:
        await run(reader, call)
    assert caught.value.diag.message_hint == "The watch on embedding: no sidecar is running. See sidecar.status."
    async with running_ingest(stage.worker, encoder, pictures=True):
        await table.settle(20)
    assert await run(reader, "select key, reason from sidecar.failures") == [({"id": 1}, "not_a_picture")]
    with pytest.raises(psycopg.Error, match="cannot be embedded: not_a_picture") as caught:
        await run(reader, call)
    assert caught.value.sqlstate == "SC002"
    await refuses(reader, call.replace("1}", "7}"), "02000")


async def test_a_reader_can_wait_only_for_rows_that_it_may_read(
    stage: Stage, owner: Connection, reader: Connection, encoder: GatedEncoder
) -> None:
    table = await watch_texts(owner, 2)
    async with running_ingest(stage.worker, encoder):
        await table.settle_right(encoder)
    call = """call sidecar.wait_embedded('shop.items'::regclass, '{"id": 2}', timeout_ms => 0)"""
    await run(owner, f"grant usage on schema shop to {stage.cast.reader}")
    await refuses(reader, call)
    await let_read(stage, owner)
    await run(reader, call)
    await run(owner, "alter table shop.items enable row level security")
    await run(owner, "create policy only_one on shop.items using (id = 1)")
    await refuses(reader, call, "02000")


async def test_a_reader_uses_the_search_command_and_hybrid_search(
    stage: Stage, owner: Connection, encoder: GatedEncoder
) -> None:
    table = await watch_texts(owner, 5)
    await let_read(stage, owner)
    async with running_ingest(stage.worker, encoder):
        await table.settle_right(encoder)
    wanted = [float(x) for x in encoder.vector_of("title 3")]

    def search() -> tuple[object, ...]:
        with open_operations(SecretStr(stage.reader), lambda message, hint: None) as operations:
            return operations.search(operations.watch_to_search("shop.items", None), wanted, 1).rows[0]

    assert (await asyncio.to_thread(search))[:2] == (3, "title 3")
    async with user(stage.reader) as reader:
        by_words = "select key from sidecar.hybrid_search('shop.items', %s::text::vector, 'title 3', k => 1)"
        assert await value(reader, by_words, str(wanted)) == {"id": 3}


async def test_no_result_visible_to_a_reader_contains_a_hash(
    stage: Stage, owner: Connection, reader: Connection, encoder: GatedEncoder
) -> None:
    """With its SHA-256 a phone number can be found by trying all of them."""
    table = await watch_texts(owner, 1, expose=["title"])
    await let_read(stage, owner)
    async with running_ingest(stage.worker, encoder):
        await table.settle_right(encoder)
    [(content_hash, digest)] = await run(owner, "select content_hash, vector_digest from sidecar_internal.ledger_1")
    key = """'{"id": 1}'"""
    calls = {
        "backlog": "sidecar.backlog()",
        "status_of": "sidecar_internal.status_of(null, false)",
        "events_of_key": f"sidecar_internal.events_of_key(1, {key})",
        "is_waiting": "sidecar_internal.is_waiting(1, array[1, 2])",
        "state_of_row": f"sidecar_internal.state_of_row(1, {key})",
        "state_of_watch": "sidecar_internal.state_of_watch(1)",
        "embed_connection_fault": "sidecar_internal.embed_connection_fault()",
    }
    # These answer with a vector, or raise: no sidecar answers here.
    embedding = {"embed_in_statement", "read_answer", "request_vector"}
    callable_ = """
        select p.proname from pg_proc p where p.pronamespace in ('sidecar'::regnamespace,
            'sidecar_internal'::regnamespace) and p.prosecdef
        and has_function_privilege(p.oid, 'execute')
    """
    assert {name for (name,) in await run(reader, callable_)} == set(calls) | embedding
    views = [
        f"select v from sidecar.{v} v" for v in ("status", "failures", "failures_by_reason", "index_builds", "scans")
    ]
    search = "select sidecar.search_exposed('shop.items', array_fill(0.5::real, array[16]))"
    results = [await run(reader, query) for query in (*(f"select {call}" for call in calls.values()), *views, search)]
    assert any(results)
    for secret in (content_hash, digest):
        assert secret.hex() not in str(results)
        assert repr(secret)[2:-1] not in str(results)
    returned = """and ('bytea'::regtype = p.prorettype or exists (
        select from unnest(p.proallargtypes, p.proargmodes) a(type, mode)
        where a.type = 'bytea'::regtype and a.mode <> 'i'))"""
    assert await run(reader, callable_ + returned) == []


FORBIDDEN = [
    "select * from sidecar_internal.ledger_1",
    "select * from sidecar_internal.events_1",
    "select * from sidecar_internal.failures",
    "select * from sidecar_internal.scans",
    "select * from sidecar_internal.wake",
    "update sidecar_internal.watches set paused = true",
    "insert into sidecar_internal.progress (watch_id) values (1)",
    "select nextval('sidecar_internal.generation')",
    "select sidecar.watch('shop.items', 'secret')",
    "select sidecar.unwatch('shop.items')",
    "select sidecar.pause()",
    "select sidecar.retry('shop.items')",
    "select sidecar.reembed('shop.items')",
    "select sidecar.verify('shop.items')",
    "select sidecar_internal.follow_changes()",
    "select sidecar.grant_reader('pg_monitor')",
    "select sidecar_internal.raise_generation()",
    "select sidecar_internal.report_breakage(1, 'x', 'y')",
    "select sidecar_internal.start_scan(1, 'backfill')",
    "select sidecar_internal.move_page(1, 1)",
    "select secret from shop.items",
    "create function sidecar.mine() returns int language sql as 'select 1'",
]


async def test_a_reader_can_do_nothing_else(stage: Stage, owner: Connection, reader: Connection) -> None:
    assert (await watch_texts(owner, 1)).watch_id == 1
    for statement in FORBIDDEN:
        await refuses(reader, statement)


async def test_a_role_without_grants_can_do_nothing(stage: Stage, owner: Connection) -> None:
    await watch_texts(owner, 1)
    async with user(stage.outsider) as outsider:
        for statement in ("select * from sidecar.status", "select sidecar_internal.status_of(null, false)", *FORBIDDEN):
            await refuses(outsider, statement)


async def test_revoke_grants_leaves_no_privilege_behind(stage: Stage, owner: Connection, reader: Connection) -> None:
    await watch_texts(owner, 1)
    await run(owner, "select sidecar.revoke_grants(%s::text::regrole)", stage.cast.reader)
    await refuses(reader, "select * from sidecar.status")
    assert await run(owner, "select kind from sidecar_internal.roles()") == [("worker",)]
    left = """
        select count(*) from pg_shdepend d join pg_roles r on r.oid = d.refobjid
        join pg_database b on b.oid = d.dbid and b.datname = current_database()
        where d.deptype = 'a' and r.rolname = %s
    """
    assert await value(owner, left, stage.cast.reader) == 0
