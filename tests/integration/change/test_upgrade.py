"""Migrations under running sidecars: an older sidecar keeps working, a newer one waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from sidecar.operations.migrations import current_revision, head_revision, migrate
from tests.command_line import CommandLine
from tests.integration.change.dumps import dump, restore
from tests.integration.change.releases import NEXT_REVISION, checkout_of, migrate_here, migrate_with, next_release
from tests.integration.change.writers import Writers, check_all_is_right, some_rows_are_embedded
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.processes import sidecar_process
from tests.integration.ingest.watched_table import Connection, run, user, value, watch
from tests.schema_dump import GOLDEN, dump_schema
from tests.servers import Server
from tests.waiting import wait_until_async

OLD_REVISION, OLD_COMMIT = "0016", "fe89ad6"  # the last commit whose newest migration is 0016

OTHER_CODE = f"""
    create or replace function sidecar.installation(out revision text, out code_digest text)
    language sql immutable as $$ select '{head_revision()}', 'another' $$
"""
# Before and after unreadable texts were added to ledgers, which was part of 0017 for two hours.
COMMITS_AT_0017 = ["54cc4ec", "95fc3ea"]
SHARED_CHANGES = """
    select (select count(*) from pg_attribute where attrelid = 'sidecar_internal.watches'::regclass and attname =
        'remark'),
           (select count(*) from pg_attribute where attrelid = 'sidecar_internal.ledger_1'::regclass and attname =
               'remark'),
           to_regprocedure('sidecar_internal.remark_of(sidecar_internal.watches)') is not null
"""


@pytest.fixture(scope="module")
def old_checkout() -> Iterator[Path]:
    with checkout_of(OLD_COMMIT) as directory:
        yield directory


@pytest.fixture(scope="module")
def next_checkout() -> Iterator[Path]:
    with next_release(head_revision()) as directory:
        yield directory


@pytest.fixture
def old_url(plain_database_url: str, old_checkout: Path) -> str:
    """A database migrated by the code of OLD_COMMIT."""
    migrate_with(old_checkout, plain_database_url)
    assert current_revision(plain_database_url) == OLD_REVISION
    return plain_database_url


@pytest.fixture
async def db(old_url: str) -> AsyncIterator[Connection]:
    async with user(old_url) as connection:
        yield connection


async def test_an_older_sidecar_keeps_working_during_and_after_a_migration(
    database_url: str, next_checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This checkout is the older release; the next one has a revision that exists only in tests."""
    async with user(database_url) as db:
        table = await make_texts(db, 3000)
        writers = Writers(database_url)
        async with sidecar_process(database_url, view_ms=0.3) as old, asyncio.TaskGroup() as group:
            try:
                for number in range(2):
                    group.create_task(writers.write(number), name=f"writer-{number}")
                await some_rows_are_embedded(db, 300)
                await asyncio.to_thread(migrate_here, next_checkout, database_url, monkeypatch)
                embedded = await value(db, "select count(embedding) from items")
                await writers.until_each_wrote(5)
            finally:
                writers.stop()
            assert current_revision(database_url) == NEXT_REVISION
            assert embedded < 3000, "all rows were embedded before the migration"
            await check_all_is_right(db, table)
            assert await value(db, "select count(*) from sidecar_internal.sidecars") == 1
            assert await old.terminate(15) == 0
        unchanged = {f"title {i}" for i in range(1, 3001)}
        assert set(old.texts) >= unchanged
        assert max(old.texts[text] for text in unchanged) <= 2, "rows that were not in flight were embedded twice"
        async with sidecar_process(database_url, checkout=next_checkout) as new:
            await run(db, "update items set title = 'by the new one' where id = 1")
            await check_all_is_right(db, table)
            assert await new.terminate(15) == 0


async def test_sidecars_of_both_versions_work_side_by_side(database_url: str, next_checkout: Path) -> None:
    async with user(database_url) as db:
        table = await make_texts(db, 10)
        migrate_with(next_checkout, database_url)
        async with (
            sidecar_process(database_url, checkout=next_checkout) as new,
            running_ingest(database_url, GatedEncoder()),
        ):

            async def are_two() -> bool:
                return bool(await value(db, "select count(*) = 2 from sidecar_internal.sidecars"))

            await wait_until_async(are_two, "both to run", 30)
            for i in range(5):
                await insert_titles(db, 100 * i + 100, 100 * i + 180)
                await run(db, "update items set title = %s where id %% 7 = 0", f"round {i}")
                await check_all_is_right(db, table)
            assert await new.terminate(15) == 0


async def test_a_migration_alters_tables_and_replaces_code_only_once(database_url: str, next_checkout: Path) -> None:
    async with user(database_url) as db:
        await make_texts(db, 3)
        assert await run(db, SHARED_CHANGES) == [(0, 0, False)]
        migrate_with(next_checkout, database_url)
        assert current_revision(database_url) == NEXT_REVISION
        assert await run(db, SHARED_CHANGES) == [(1, 1, True)]
        before = dump_schema(database_url), await run(db, "select oid, xmin::text from pg_proc order by oid")
        migrate_with(next_checkout, database_url)
        after = dump_schema(database_url), await run(db, "select oid, xmin::text from pg_proc order by oid")
        assert before == after


def test_an_upgraded_schema_equals_a_fresh_one(
    plain_database_url: str, next_checkout: Path, old_checkout: Path, postgres_server: Server
) -> None:
    """Upgraded from OLD_COMMIT to this checkout, and on to the next release."""
    migrate_with(old_checkout, plain_database_url)
    migrate(plain_database_url)
    assert dump_schema(plain_database_url) == GOLDEN.read_text(encoding="utf-8")
    migrate_with(next_checkout, plain_database_url)
    with postgres_server.lend_database() as fresh_url:
        migrate_with(next_checkout, fresh_url)
        assert dump_schema(plain_database_url) == dump_schema(fresh_url)


def test_migrate_of_an_older_release_leaves_a_newer_schema_unchanged(database_url: str, next_checkout: Path) -> None:
    migrate_with(next_checkout, database_url)
    before = dump_schema(database_url)
    assert not migrate(database_url).code_replaced
    assert (current_revision(database_url), dump_schema(database_url)) == (NEXT_REVISION, before)


@pytest.mark.parametrize("commit", COMMITS_AT_0017)
async def test_a_schema_from_a_commit_between_releases_is_upgraded(
    plain_database_url: str, encoder: GatedEncoder, commit: str
) -> None:
    with checkout_of(commit) as checkout:
        migrate_with(checkout, plain_database_url)
    async with user(plain_database_url) as connection:
        table = await make_texts(connection, 3)
        await run(connection, "create view public.dashboard as select relation, pending from sidecar.status")
        await asyncio.to_thread(migrate, plain_database_url)
        assert current_revision(plain_database_url) == head_revision()
        async with running_ingest(plain_database_url, encoder):
            await table.settle_right(encoder)
        assert await value(connection, "select unreadable from sidecar.status") == 0
        assert await value(connection, "select pending from public.dashboard") == 0


async def test_a_sidecar_newer_than_the_schema_waits_for_migrate(
    old_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    table = await make_texts(db, 3)
    wanted = f"the schema `sidecar` is at {OLD_REVISION}, this version needs {head_revision()}: run `sidecar migrate`"
    async with running_ingest(old_url, encoder) as running:

        async def says_so() -> bool:
            return any(wanted in record.message for record in caplog.records)

        await wait_until_async(says_so, "the log to say so")
        assert not running.task.done()
        await asyncio.to_thread(migrate, old_url)
        await table.settle_right(encoder)


def test_commands_refuse_an_older_schema(
    old_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", old_url)
    command_line = CommandLine(monkeypatch, capsys)
    with psycopg.connect(old_url, autocommit=True) as connection:
        connection.execute(b"create table items (id int primary key, title text)")
    for command in (["status"], ["watch", "items", "--source", "title"], ["verify", "items"], ["uninstall", "--yes"]):
        said = command_line.fail(*command, code=1)
        assert f"the schema `sidecar` is at {OLD_REVISION}, this version needs {head_revision()}" in said
        assert "HINT: sidecar migrate" in said


async def test_a_sidecar_works_on_a_newer_schema(
    old_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    migrate(old_url)
    table = await make_texts(db, 3)
    await run(db, "update sidecar.alembic_version set version_num = '9999'")
    with caplog.at_level(logging.WARNING):
        async with running_ingest(old_url, encoder):
            await table.settle_right(encoder)
    assert any("the schema is at 9999" in record.message for record in caplog.records)


NEW_TRIGGERS = (
    "select not sidecar_internal.has_old_triggers(w) and sidecar_internal.triggers_fit(w) from "
    "sidecar_internal.watches w"
)


@pytest.mark.parametrize("companion", [None, "vectors"])
async def test_old_triggers_are_renewed_by_a_migration(old_url: str, db: Connection, companion: str | None) -> None:
    await make_texts(db, 3, companion=companion)
    await asyncio.to_thread(migrate, old_url)
    assert await value(db, NEW_TRIGGERS)
    await run(db, "delete from sidecar_internal.events_1")
    await run(db, "insert into items values (100, 'new')")
    assert await value(db, "select count(*) from sidecar_internal.events_1") == 1


async def test_a_migration_skips_the_triggers_of_a_locked_table_and_logs_how_to_renew_them(
    old_url: str, db: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await make_texts(db, 3)
    async with user(old_url, autocommit=False) as writer:
        await run(writer, "insert into items values (100, 'being written')")
        with caplog.at_level(logging.WARNING):
            await asyncio.to_thread(migrate, old_url)
        assert current_revision(old_url) == head_revision()
        assert "select sidecar.renew_triggers(1);" in caplog.text
        assert not await value(db, NEW_TRIGGERS)
        await run(writer, "update items set title = 'changed' where id = 1")
        await run(writer, "delete from items where id = 2")
        await writer.commit()
    assert await value(db, "select count(distinct k1) from sidecar_internal.events_1") == 3
    assert await value(db, "select sidecar.renew_triggers(1)")
    assert await value(db, NEW_TRIGGERS)


async def test_an_older_schema_restored_without_its_rows_is_upgraded(
    old_url: str, db: Connection, encoder: GatedEncoder, postgres_server: Server, open_tmp_path: Path
) -> None:
    await make_texts(db)
    dump(old_url, open_tmp_path / "schema.sql", "--schema-only")
    with postgres_server.lend_database() as url:
        await restore(open_tmp_path / "schema.sql", url)
        migrated = await asyncio.to_thread(migrate, url)
        assert migrated.restored is not None
        assert (migrated.restored.revision, migrated.restored.watch_ids) == (OLD_REVISION, [1])
        assert current_revision(url) == head_revision()
        async with user(url) as restored:
            items = await watch(restored, ["items"], ["title"])
            await insert_titles(restored, 1, 3)
            async with running_ingest(url, encoder):
                await items.settle_right(encoder)


async def test_a_sidecar_logs_once_that_the_functions_are_of_another_version(
    database_url: str, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    """The tables are at the sidecar's revision, so it works."""
    async with user(database_url) as connection:
        table = await make_texts(connection, 3)
        await run(connection, OTHER_CODE)
        async with running_ingest(database_url, encoder):
            await table.settle_right(encoder)
    said = [
        record for record in caplog.records if "functions of schema `sidecar` are another version's" in record.message
    ]
    assert len(said) == 1
