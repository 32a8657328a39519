"""The migration from one schema to two (0019): watches of 0018 keep working, and a 0018 sidecar stops safely."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.sql import Identifier

from sidecar.errors import StatementRejected
from sidecar.operations.migrations import current_revision, head_revision, migrate
from tests.integration.change.dumps import dump, restore
from tests.integration.change.releases import checkout_of, migrate_with
from tests.integration.change.writers import Writers, check_all_is_right, some_rows_are_embedded
from tests.integration.ingest.composition import DIMENSIONS, running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.processes import sidecar_process
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value, watch
from tests.schema_dump import GOLDEN, dump_schema
from tests.servers import Server
from tests.waiting import wait_until_async

BEFORE, COMMIT_BEFORE = "0018", "8abb59a"  # the last commit whose newest migration is 0018

OBJECTS_ON_USERS_TABLES = """
    select t.tgrelid::regclass::text, t.tgname, t.tgenabled, t.tgfoid from pg_trigger t
    where t.tgname ~ '^sidecar_' order by 1, 2
"""
# By OID: the same objects with the same privileges, whatever their schema.
PRIVILEGES = """
    select c.oid, c.relowner, c.relacl::text from pg_class c
    join pg_namespace n on n.oid = c.relnamespace and n.nspname in ('sidecar', 'sidecar_internal')
    where c.relkind in ('r', 'S', 'v') order by 1
"""


@pytest.fixture(scope="module")
def checkout_before() -> Iterator[Path]:
    with checkout_of(COMMIT_BEFORE) as directory:
        yield directory


@pytest.fixture
def url(plain_database_url: str, checkout_before: Path) -> str:
    """A database at 0018."""
    migrate_with(checkout_before, plain_database_url)
    assert current_revision(plain_database_url) == BEFORE
    return plain_database_url


@pytest.fixture
async def db(url: str) -> AsyncIterator[Connection]:
    async with user(url) as connection:
        yield connection


async def heartbeat_has_stopped(db: Connection) -> bool:
    """Whether no sidecar has written its heartbeat, due every 2 s, for 3 s."""
    statement = "select clock_timestamp() - max(seen_at) > interval '3 s' from sidecar_internal.sidecars"
    return bool(await value(db, statement))


async def test_a_0018_sidecar_stops_embedding_after_the_migration_and_a_new_one_takes_over(
    url: str, db: Connection, checkout_before: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It finds none of its tables. No user's statement fails, and its claims are freed when their leases expire."""
    table = await make_texts(db, 3000)
    writers = Writers(url)
    async with sidecar_process(url, checkout=checkout_before, view_ms=0.3) as old, asyncio.TaskGroup() as group:
        try:
            for number in range(2):
                group.create_task(writers.write(number), name=f"writer-{number}")
            await some_rows_are_embedded(db, 300)
            await asyncio.to_thread(migrate, url)
            await writers.until_each_wrote(5)
        finally:
            writers.stop()
        await wait_until_async(lambda: heartbeat_has_stopped(db), "the old one to stop", 30)
        assert await value(db, "select count(embedding) < 3000 from items"), (
            "all rows were embedded before the migration"
        )
        assert "running sidecars are of a version that does not find its tables any more: " in caplog.text
        assert await old.terminate(15) == 0
    async with running_ingest(url, GatedEncoder()) as running:
        await run(db, "update items set title = 'by the new one' where id = 1")
        await check_all_is_right(db, table)
        assert not running.task.done()


async def test_a_0018_sidecar_started_after_the_migration_logs_what_is_missing(
    url: str, db: Connection, checkout_before: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = await make_texts(db, 3)
    await asyncio.to_thread(migrate, url)
    async with sidecar_process(url, checkout=checkout_before) as old:
        said = ""

        async def says_so() -> bool:
            nonlocal said
            said += capfd.readouterr().err
            return "run `sidecar migrate`" in said or "does not exist" in said

        await wait_until_async(says_so, "the old one to say so", 30)
        assert await value(db, "select count(embedding) from items") == 0
        assert await old.terminate(15) == 0
    async with running_ingest(url, GatedEncoder()):
        await check_all_is_right(db, table)


async def watch_everything(db: Connection, worker: str, reader: str) -> list[WatchedTable]:
    """Watches in the row, in a companion and in a partition tree, and one whose vectors are to be moved."""
    await run(db, f"create role {worker}")
    await run(db, f"create role {reader}")
    await run(db, "select sidecar.grant_worker(%s::text::regrole)", worker)
    await run(db, "select sidecar.grant_reader(%s::text::regrole)", reader)
    tables = []
    for name, companion in (("items", None), ("notes", "note_vectors"), ("moved", None)):
        await run(db, f"create table {name} (id bigint primary key, title text, price integer default 0)")
        await run(db, f"insert into {name} select i, 'title ' || i from generate_series(1, 20) i")
        tables.append(await watch(db, [name], ["title"], companion=companion))
    await run(db, "create table parts (id bigint primary key, title text, price integer) partition by range (id)")
    await run(db, "create table parts_low partition of parts for values from (0) to (10)")
    await run(db, "create table parts_high partition of parts for values from (10) to (1000)")
    await run(db, "insert into parts select i, 'title ' || i from generate_series(1, 20) i")
    return [*tables, await watch(db, ["parts"], ["title"])]


async def test_watches_of_0018_keep_their_triggers_views_and_privileges(
    url: str, db: Connection, checkout_before: Path
) -> None:
    worker, reader = (f"{role}_{urlsplit(url).path[-12:]}" for role in ("worker", "reader"))
    tables = await watch_everything(db, worker, reader)
    await run(db, "create view public.dashboard as select relation, pending from sidecar.status")
    try:
        async with sidecar_process(url, checkout=checkout_before) as old:
            await some_rows_are_embedded(db, 20)
            assert await old.terminate(15) == 0
        # From the row to a companion: the new sidecar has to work through the former ledger.
        await run(
            db,
            "select sidecar.watch('moved', 'title', target => 'embedding', companion => 'moved_vectors', "
            "dimensions => %s, replace => true)",
            DIMENSIONS,
        )
        triggers, privileges = await run(db, OBJECTS_ON_USERS_TABLES), await run(db, PRIVILEGES)
        view = await value(db, "select 'note_vectors_view'::regclass::oid")

        await asyncio.to_thread(migrate, url)

        assert await run(db, OBJECTS_ON_USERS_TABLES) == triggers
        assert set(privileges) <= set(await run(db, PRIVILEGES))
        assert await value(db, "select 'note_vectors_view'::regclass::oid") == view
        for role in (worker, reader):
            for schema in ("sidecar", "sidecar_internal"):
                assert await value(db, "select has_schema_privilege(%s, %s, 'usage')", role, schema)
        for name in ("items", "notes", "moved", "parts"):
            await run(db, f"insert into {name} (id, title) values (30, 'new')")
            await run(db, f"delete from {name} where id = 2")
            await run(db, f"update {name} set title = 'changed' where id = 3")
        tables[2] = replace(tables[2], companion=Identifier("moved_vectors"))
        async with running_ingest(url, GatedEncoder()):
            for table in tables:
                await check_all_is_right(db, table)
        assert await value(db, "select sum(pending) from public.dashboard") == 0
    finally:
        await run(db, f"drop owned by {worker}, {reader} cascade")
        await run(db, f"drop role {worker}, {reader}")


def test_the_migrated_schema_equals_a_fresh_one(url: str) -> None:
    migrate(url)
    assert dump_schema(url) == GOLDEN.read_text(encoding="utf-8")
    assert not migrate(url).code_replaced


async def test_a_dump_of_0018_is_restored_and_migrated(
    url: str, db: Connection, checkout_before: Path, postgres_server: Server, open_tmp_path: Path
) -> None:
    table = await make_texts(db, 10)
    async with sidecar_process(url, checkout=checkout_before) as old:
        await some_rows_are_embedded(db, 10)
        assert await old.terminate(15) == 0
    await insert_titles(db, 100, 110)
    dump(url, open_tmp_path / "before.dump", "--format=custom")
    with postgres_server.lend_database() as restored_url:
        await restore(open_tmp_path / "before.dump", restored_url)
        await asyncio.to_thread(migrate, restored_url)
        assert current_revision(restored_url) == head_revision()
        async with user(restored_url) as restored:
            pending = await value(restored, "select pending from sidecar.status")
            assert pending == 11, "rows embedded before the dump are not pending"
            await run(restored, "update items set title = 'after the restore' where id = 1")
            restored_table = replace(table, connection=restored)
            async with running_ingest(restored_url, GatedEncoder()):
                await check_all_is_right(restored, restored_table)


async def test_the_migration_is_refused_if_a_users_schema_has_the_name_sidecar_internal(
    url: str, db: Connection
) -> None:
    await run(db, "create schema sidecar_internal; create table sidecar_internal.theirs (i int)")
    with pytest.raises(StatementRejected, match="sidecar_internal is there and is not empty") as caught:
        await asyncio.to_thread(migrate, url)
    assert "Rename yours" in (caught.value.hint or "")
    assert current_revision(url) == BEFORE
    await run(db, "alter schema sidecar_internal rename to theirs")
    await asyncio.to_thread(migrate, url)
    assert await value(db, "select count(*) from theirs.theirs") == 0


async def test_base_is_refused_with_the_reason_while_something_is_watched(url: str, db: Connection) -> None:
    await make_texts(db, 1)
    with pytest.raises(StatementRejected, match="there are active watches"):
        await asyncio.to_thread(migrate, url, "base")
    assert current_revision(url) == BEFORE


async def test_an_installer_without_the_create_privilege_gets_a_hint_with_the_grant(
    plain_database_url: str, checkout_before: Path
) -> None:
    parts = urlsplit(plain_database_url)
    name = parts.path.removeprefix("/")
    installer = f"installer_{name[-12:]}"
    own_url = urlunsplit(parts._replace(netloc=f"{installer}:pw@{parts.hostname}:{parts.port}"))
    async with user(plain_database_url) as admin:
        await run(admin, f"create role {installer} login password 'pw'")
        await run(admin, "create extension vector")
        await run(admin, f"create schema sidecar authorization {installer}")
        try:
            migrate_with(checkout_before, own_url)
            await run(admin, "create table items (id bigint primary key, title text)")
            await run(admin, "select sidecar.watch('items', 'title', target => 'embedding', dimensions => 16)")
            with pytest.raises(StatementRejected) as caught:
                await asyncio.to_thread(migrate, own_url)
            grant = f"grant create on database {name} to {installer}"
            assert f"Let a superuser run: {grant};" in (caught.value.hint or "")
            await run(admin, grant)
            await asyncio.to_thread(migrate, own_url)
            await run(admin, f"revoke create on database {name} from {installer}")
            await run(admin, "insert into items values (1, 'a')")
            assert await value(admin, "select count(*) from sidecar_internal.events_1") == 1
            owners = "select nspowner::regrole::text from pg_namespace where nspname ~ '^sidecar' order by nspname"
            assert await run(admin, owners) == [(installer,), (installer,)]
        finally:
            await run(admin, f"drop table if exists items; drop owned by {installer} cascade; drop role {installer}")


async def test_the_migration_does_not_wait_for_a_writers_open_transaction(url: str, db: Connection) -> None:
    table = await make_texts(db, 3)
    async with user(url, autocommit=False) as writer:
        await run(writer, "insert into items values (100, 'being written')")
        await asyncio.to_thread(migrate, url)
        await run(writer, "update items set title = 'changed' where id = 1")
        await run(writer, "delete from items where id = 2")
        await writer.commit()
    async with running_ingest(url, GatedEncoder()):
        await check_all_is_right(db, table)


async def test_a_migration_blocked_by_a_reader_of_failures_fails_and_changes_nothing(url: str, db: Connection) -> None:
    async with user(url, autocommit=False) as reader:
        await run(reader, "select * from sidecar.failures")
        with pytest.raises(StatementRejected) as caught:
            await asyncio.to_thread(migrate, url)
        assert caught.value.sqlstate == psycopg.errors.LockNotAvailable.sqlstate
        assert current_revision(url) == BEFORE
    await asyncio.to_thread(migrate, url)
