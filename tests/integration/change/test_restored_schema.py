"""A schema restored without its rows, as by `pg_dump --schema-only` or Rails' structure.sql: migrate repairs it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from sidecar.errors import SchemaError
from sidecar.operations.migrations import current_revision, head_revision, migrate
from tests.command_line import CommandLine
from tests.integration.change.dumps import dump, restore, run_program, version_of
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, run, user, value, watch
from tests.servers import Server, open_directory
from tests.waiting import wait_until_async

NUMBERED = """
    select relname from pg_class where relnamespace = to_regnamespace('sidecar_internal') and relkind = 'r' and relname
        ~
        '[0-9]$'
    union all select tgname from pg_trigger where tgname ~ '^sidecar_'
    union all select proname from pg_proc
        where pronamespace = to_regnamespace('sidecar_internal') and proname ~ '_[0-9]'
"""
OPEN_TO_ALL = """
    select count(*) from pg_proc p where p.pronamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace)
    and has_function_privilege('pg_monitor', p.oid, 'execute')
"""


@pytest.fixture(scope="module")
def source_url(postgres_server: Server, migrated_template: str) -> Iterator[str]:
    """A database with several kinds of watches, whose ids differ from those that new watches would get."""

    async def make(url: str) -> None:
        async with user(url) as db:
            await run(db, "select setval('sidecar_internal.watches_id_seq', 3)")
            await make_texts(db)
            await run(db, "create table parts (id int, title text, primary key (id)) partition by range (id)")
            await run(db, "create table parts_1 partition of parts for values from (0) to (1000)")
            await watch(db, ["parts"], ["title"])
            await run(db, "create table photos (id bigint primary key, caption text)")
            await watch(db, ["photos"], ["caption"], companion="photo_vectors")
            await watch(db, ["photos"], ["caption"], target="former")
            await run(db, "select sidecar.unwatch('photos', 'former')")

    with postgres_server.lend_database(migrated_template) as url:
        asyncio.run(make(url))
        yield url


@pytest.fixture
def restored_url(postgres_server: Server) -> Iterator[str]:
    with postgres_server.lend_database() as url:
        yield url


@pytest.fixture
async def restored(restored_url: str) -> AsyncIterator[Connection]:
    async with user(restored_url) as connection:
        yield connection


async def restore_schema(source_url: str, url: str, *options: str) -> None:
    with open_directory() as directory:
        dump(source_url, directory / "schema.sql", "--schema-only", *options)
        await restore(directory / "schema.sql", url)


@pytest.mark.parametrize("options", [(), ("--no-owner", "--no-privileges")], ids=["plain", "as rails does"])
async def test_migrate_repairs_a_schema_without_its_rows_and_watching_again_embeds_all(
    source_url: str, restored_url: str, restored: Connection, options: tuple[str, ...]
) -> None:
    await restore_schema(source_url, restored_url, *options)
    await insert_titles(restored, 1, 3)

    migrated = await asyncio.to_thread(migrate, restored_url)

    assert migrated.restored is not None
    assert (migrated.restored.revision, migrated.restored.watch_ids) == (head_revision(), [4, 5, 6, 7])
    assert current_revision(restored_url) == head_revision()
    assert await run(restored, NUMBERED) == []
    assert await value(restored, OPEN_TO_ALL) == 0
    items = await watch(restored, ["items"], ["title"])
    parts = await watch(restored, ["parts"], ["title"])
    photos = await watch(restored, ["photos"], ["caption"], companion="photo_vectors")
    await run(restored, "insert into parts values (1, 'a part')")
    await run(restored, "insert into photos values (1, 'a photo')")
    encoder = GatedEncoder()
    async with running_ingest(restored_url, encoder):
        for table in (items, parts, photos):
            await table.settle_right(encoder)
    assert await value(
        restored, "select companion_view::text from sidecar_internal.watches where companion is not null"
    ) == ("photo_vectors_view")
    assert (await asyncio.to_thread(migrate, restored_url)).restored is None


@pytest.mark.parametrize(
    "schemas",
    [
        ("public", "sidecar", "sidecar_internal"),
        ("sidecar", "sidecar_internal"),
        ("public", "sidecar"),
        ("sidecar",),
        ("public",),
    ],
    ids="+".join,
)
async def test_migrate_repairs_selected_schemas_restored_without_rows(
    source_url: str, restored_url: str, restored: Connection, schemas: tuple[str, ...], open_tmp_path: Path
) -> None:
    """psql continues after errors: schema public exists already, functions of triggers are missing."""
    await run(restored, "create extension vector")
    dump(source_url, open_tmp_path / "chosen.sql", "--schema-only", *(f"--schema={name}" for name in schemas))
    await asyncio.to_thread(
        run_program, "psql", version_of(restored_url), "--quiet", "-f", str(open_tmp_path / "chosen.sql"), restored_url
    )
    if "public" not in schemas:
        await run(restored, "create table items (id bigint primary key, title text, price integer default 0)")

    await asyncio.to_thread(migrate, restored_url)

    items = await watch(restored, ["items"], ["title"])
    await insert_titles(restored, 1, 3)
    encoder = GatedEncoder()
    async with running_ingest(restored_url, encoder):
        await items.settle_right(encoder)


async def test_a_role_without_superuser_repairs_a_schema_that_it_restored(
    source_url: str, restored_url: str, restored: Connection
) -> None:
    await run(restored, "create role deployer login password 'pw'")
    name = urlsplit(restored_url).path.removeprefix("/")
    await run(restored, f'alter database "{name}" owner to deployer')
    parts = urlsplit(restored_url)
    deployers_url = urlunsplit(parts._replace(netloc=f"deployer:pw@{parts.hostname}:{parts.port}"))
    try:
        await run(restored, "create extension vector")
        await run(restored, "alter schema public owner to deployer")
        with open_directory() as directory:
            dump(source_url, directory / "schema.sql", "--schema-only", "--no-owner", "--no-privileges")
            script = (directory / "schema.sql").read_text().splitlines(keepends=True)
            kept = [line for line in script if not line.startswith(("COMMENT ON EXTENSION", "CREATE EXTENSION"))]
            (directory / "schema.sql").write_text("".join(kept))
            await restore(directory / "schema.sql", deployers_url)
        await asyncio.to_thread(migrate, deployers_url)
        async with user(deployers_url) as deployer:
            assert await run(deployer, NUMBERED) == []
            items = await watch(deployer, ["items"], ["title"])
            await insert_titles(deployer, 1, 3)
            encoder = GatedEncoder()
            async with running_ingest(deployers_url, encoder):
                await items.settle_right(encoder)
    finally:
        await run(restored, f'alter database "{name}" owner to current_user')
        await run(restored, "drop owned by deployer cascade")
        await run(restored, "drop role deployer")


async def test_watch_works_in_a_restored_schema_before_it_is_migrated(
    source_url: str, restored_url: str, restored: Connection
) -> None:
    await restore_schema(source_url, restored_url)
    await run(restored, "select setval('sidecar_internal.watches_id_seq', 3)")  # the next id, 4, has leftover tables
    items = await watch(restored, ["items"], ["title"])
    assert items.watch_id == 4
    await asyncio.to_thread(migrate, restored_url)
    await insert_titles(restored, 1, 3)
    encoder = GatedEncoder()
    async with running_ingest(restored_url, encoder):
        await items.settle_right(encoder)


async def test_restored_watches_keep_working_and_new_ones_get_unused_ids(
    source_url: str, restored_url: str, restored: Connection, open_tmp_path: Path
) -> None:
    await restore_schema(source_url, restored_url)
    dump(source_url, open_tmp_path / "rows.sql", "--data-only", "--table=sidecar_internal.watches")
    await restore(open_tmp_path / "rows.sql", restored_url)
    await run(restored, "delete from sidecar_internal.watches where target = 'former' or companion is not null")
    await run(restored, "select setval('sidecar_internal.watches_id_seq', 1, false)")
    await run(restored, "set session_replication_role = replica")
    await run(
        restored, "insert into sidecar_internal.scans (watch_id, purpose, finished_at) values (99, 'backfill', now())"
    )
    await run(restored, "reset session_replication_role")

    migrated = await asyncio.to_thread(migrate, restored_url)

    assert migrated.restored is not None
    assert migrated.restored.watch_ids == [6, 7]
    assert await value(restored, "select count(*) from sidecar_internal.scans where watch_id = 99") == 0
    photos = await watch(restored, ["photos"], ["caption"], companion="photo_vectors")
    assert photos.watch_id > 5
    await insert_titles(restored, 1, 3)
    encoder = GatedEncoder()
    async with running_ingest(restored_url, encoder):

        async def are_embedded() -> bool:
            return bool(await value(restored, "select count(embedding) = 3 from items"))

        await wait_until_async(are_embedded, "the rows of the watch that was restored")


async def test_a_watch_restored_without_its_queue_is_repaired_by_watching_again(
    source_url: str, restored_url: str, restored: Connection, open_tmp_path: Path
) -> None:
    await restore_schema(source_url, restored_url)
    dump(source_url, open_tmp_path / "rows.sql", "--data-only", "--table=sidecar_internal.watches")
    await restore(open_tmp_path / "rows.sql", restored_url)
    await run(restored, "drop table sidecar_internal.events_4, sidecar_internal.delayed_4, sidecar_internal.ledger_4")
    await asyncio.to_thread(migrate, restored_url)
    await insert_titles(restored, 1, 3)
    encoder = GatedEncoder()
    items = await watch(restored, ["items"], ["title"])
    async with running_ingest(restored_url, encoder):
        await items.settle_right(encoder)


async def test_after_a_restore_without_rows_a_sidecar_waits_and_commands_name_migrate(
    source_url: str,
    restored_url: str,
    restored: Connection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await restore_schema(source_url, restored_url)
    command_line = CommandLine(monkeypatch, capsys)
    monkeypatch.setenv("DATABASE_URL", restored_url)
    encoder = GatedEncoder()
    async with running_ingest(restored_url, encoder) as running:

        async def says_so() -> bool:
            return any("without their rows" in r.message and "sidecar migrate" in r.message for r in caplog.records)

        await wait_until_async(says_so, "the log to say so")
        said = await asyncio.to_thread(command_line.fail, "status", code=1)
        assert "without their rows" in said
        assert "HINT: sidecar migrate" in said
        found = json.loads((await asyncio.to_thread(command_line, "doctor", "--json")).stdout)
        assert [(f["check"], f["remedy"]) for f in found["findings"]] == [("migrations", "sidecar migrate")]
        assert "as a restore leaves them" in await asyncio.to_thread(command_line.succeed, "migrate")
        items = await watch(restored, ["items"], ["title"])
        await insert_titles(restored, 1, 3)
        await items.settle_right(encoder)
        assert not running.task.done()


async def test_migrate_base_removes_a_schema_without_its_rows(
    source_url: str, restored_url: str, restored: Connection
) -> None:
    await restore_schema(source_url, restored_url)
    await asyncio.to_thread(migrate, restored_url, "base")
    assert await run(restored, NUMBERED) == []
    assert await value(restored, "select to_regclass('sidecar_internal.watches')") is None
    await insert_titles(restored, 1, 3)


async def test_migrate_refuses_tables_of_an_unknown_revision_and_changes_nothing(
    source_url: str, restored_url: str, restored: Connection
) -> None:
    await asyncio.to_thread(migrate, restored_url, "0016")
    await run(restored, "delete from sidecar.alembic_version")
    await run(restored, "alter table sidecar.watches rename expose to something")
    with pytest.raises(SchemaError, match=r"(?s)not the row that says.*HINT: drop schema sidecar cascade"):
        await asyncio.to_thread(migrate, restored_url)
    assert await value(restored, "select count(*) from sidecar.watches") == 0


async def test_migrate_refuses_sidecar_internal_without_schema_sidecar_and_changes_nothing(
    source_url: str, restored_url: str, restored: Connection
) -> None:
    await restore_schema(source_url, restored_url)
    await run(restored, "drop schema sidecar cascade")
    before = await run(restored, NUMBERED)
    with pytest.raises(SchemaError, match="`sidecar_internal` is there without the functions of `sidecar`"):
        await asyncio.to_thread(migrate, restored_url)
    assert await run(restored, NUMBERED) == before


async def test_migrate_refuses_schema_sidecar_without_the_tables_of_sidecar_internal(
    restored_url: str, restored: Connection
) -> None:
    await asyncio.to_thread(migrate, restored_url)
    await run(restored, "drop schema sidecar_internal cascade")
    with pytest.raises(SchemaError, match="`sidecar` is there without the tables of `sidecar_internal`"):
        await asyncio.to_thread(migrate, restored_url)


async def test_migrate_revokes_execute_from_public_after_a_restore_without_privileges(
    source_url: str, restored_url: str, restored: Connection, open_tmp_path: Path
) -> None:
    """The restored schema has its rows, the newest revision and this version's functions."""
    dump(source_url, open_tmp_path / "all.sql", "--no-privileges")
    await restore(open_tmp_path / "all.sql", restored_url)
    assert await value(restored, OPEN_TO_ALL) > 0
    assert (await asyncio.to_thread(migrate, restored_url)).code_replaced
    assert await value(restored, OPEN_TO_ALL) == 0
    assert not (await asyncio.to_thread(migrate, restored_url)).code_replaced
