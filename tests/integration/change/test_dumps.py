"""Dumped and restored databases: the sidecar continues, and embeds nothing twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.change.dumps import dump, restore, version_of
from tests.integration.change.history import Dumps, check_embedding_continues, check_pending_is_embedded, dumps_of
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, run, user, value, watch
from tests.servers import Server, embedded_server
from tests.waiting import wait_until_async

BOTH = pytest.mark.parametrize("format_name", ["custom", "plain"])


@pytest.fixture(scope="module")
def history_url(postgres_server: Server, migrated_template: str) -> Iterator[str]:
    with postgres_server.lend_database(migrated_template) as url:
        yield url


@pytest.fixture(scope="module")
def dumps(history_url: str) -> Iterator[Dumps]:
    with dumps_of(history_url, version_of(history_url)) as made:
        yield made


@pytest.fixture(scope="module")
def old_dumps(postgres_server: Server) -> Iterator[Dumps]:
    """Dumps of a Postgres 16 server, made by a newer pg_dump."""
    from sidecar.operations.migrations import migrate

    version = version_of(postgres_server.url)
    if version == "16":
        pytest.skip("only to a newer version")
    with embedded_server("16") as server, server.lend_database() as url:
        migrate(url)
        with dumps_of(url, version) as made:
            yield made


@pytest.fixture
def restored_url(postgres_server: Server) -> Iterator[str]:
    with postgres_server.lend_database() as url:
        yield url


@pytest.fixture
async def restored(restored_url: str) -> AsyncIterator[Connection]:
    async with user(restored_url) as connection:
        yield connection


@BOTH
async def test_a_dump_of_the_whole_database_is_restored_completely(
    dumps: Dumps, restored_url: str, restored: Connection, format_name: str
) -> None:
    await restore(dumps.file(format_name), restored_url)
    await check_embedding_continues(restored_url, restored, dumps)


@BOTH
async def test_a_dump_of_postgres_16_is_restored_on_a_newer_version(
    old_dumps: Dumps, restored_url: str, restored: Connection, format_name: str
) -> None:
    await restore(old_dumps.file(format_name), restored_url)
    await check_embedding_continues(restored_url, restored, old_dumps)


async def test_a_sidecar_started_before_the_restore_embeds_the_restored_rows(
    dumps: Dumps, restored_url: str, restored: Connection
) -> None:
    encoder = GatedEncoder()
    async with running_ingest(restored_url, encoder) as running:
        await restore(dumps.file("custom"), restored_url)
        await check_pending_is_embedded(restored, dumps, encoder)
        assert not running.task.done()


async def test_a_sidecar_embeds_nothing_until_a_restore_has_created_the_triggers(
    dumps: Dumps, restored_url: str, restored: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """A restore copies rows before it creates primary keys and triggers."""
    encoder = GatedEncoder()
    async with running_ingest(restored_url, encoder):
        await restore(dumps.file("custom"), restored_url, "--section=pre-data", "--section=data")

        async def reported_all_watches() -> bool:
            return sum("skipped: its triggers are gone" in r.message for r in caplog.records) == len(dumps.tables)

        await wait_until_async(reported_all_watches, "the sidecar to see the watches")
        assert not encoder.texts
        await restore(dumps.file("custom"), restored_url, "--section=post-data")
        await check_pending_is_embedded(restored, dumps, encoder)


async def test_a_sidecar_keeps_running_while_its_database_is_dropped_and_restored(
    dumps: Dumps, restored_url: str
) -> None:
    await restore(dumps.file("custom"), restored_url)
    encoder = GatedEncoder()
    async with running_ingest(restored_url, encoder) as running:
        async with user(restored_url) as connection:
            items = replace(dumps.tables[0], connection=connection)
            await items.end_leases(dumps.dead_leases)
            await items.settle()
            await insert_titles(connection, 50, 60)
            await items.settle_right(encoder)
        encoder.texts.clear()
        await restore(dumps.file("custom"), restored_url, "--clean", "--if-exists")
        async with user(restored_url) as connection:
            await check_pending_is_embedded(connection, dumps, encoder)
        assert not running.task.done()


async def test_a_data_only_restore_with_triggers_disabled_keeps_all_vectors(
    dumps: Dumps, restored_url: str, restored: Connection
) -> None:
    await restore(dumps.file("custom"), restored_url, "--schema-only")
    await restore(dumps.file("custom"), restored_url, "--data-only", "--disable-triggers")
    await check_embedding_continues(restored_url, restored, dumps)


async def test_a_data_only_restore_with_triggers_enabled_fails_on_foreign_keys(dumps: Dumps, restored_url: str) -> None:
    await restore(dumps.file("custom"), restored_url, "--schema-only")
    complaints = await restore(dumps.file("custom"), restored_url, "--data-only", check=False)
    assert "violates foreign key constraint" in complaints


async def test_a_generation_sequence_that_lags_after_a_restore_is_raised(
    dumps: Dumps, restored_url: str, restored: Connection
) -> None:
    await restore(dumps.file("custom"), restored_url)
    await run(restored, "alter sequence sidecar_internal.generation restart")
    await check_embedding_continues(restored_url, restored, dumps)


async def test_selected_schemas_are_restored_together_with_schema_sidecar(
    dumps: Dumps, history_url: str, restored_url: str, restored: Connection
) -> None:
    dump(
        history_url,
        dumps.file("chosen"),
        "--format=custom",
        "--schema=shop",
        "--schema=public",
        "--schema=sidecar",
        "--schema=sidecar_internal",
    )
    await run(restored, "create extension vector")
    complaints = await restore(dumps.file("chosen"), restored_url, check=False)
    assert complaints.count("error:") == complaints.count('schema "public" already exists'), complaints
    await check_embedding_continues(restored_url, restored, dumps)


async def test_halves_are_restored_and_none_is_computed_again(
    database_url: str, db: Connection, open_tmp_path: Path, restored_url: str, restored: Connection
) -> None:
    encoder = GatedEncoder()
    table = await make_texts(db, 10, storage="halfvec", index="halfvec")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    file = open_tmp_path / "dump.custom"
    dump(database_url, file, "--format=custom")
    await restore(file, restored_url)
    encoder.texts.clear()
    await run(restored, "select sidecar.verify('items')")
    await insert_titles(restored, 11, 11)
    async with running_ingest(restored_url, encoder):
        await replace(table, connection=restored).settle_right(encoder)
    assert await value(restored, "select found from sidecar.scans where purpose = 'verify'") == 0
    assert encoder.texts == {"title 11": 1}


async def test_tables_restored_without_schema_sidecar_can_be_watched_again(
    database_url: str, db: Connection, open_tmp_path: Path, postgres_server: Server, migrated_template: str
) -> None:
    encoder = GatedEncoder()
    table = await make_texts(db, 10)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    file = open_tmp_path / "dump.custom"
    dump(database_url, file, "--format=custom", "--schema=public")
    with postgres_server.lend_database(migrated_template) as other_url:
        async with user(other_url) as other:
            await run(other, "create table decoys (id bigint primary key, title text)")
            decoys = await watch(other, ["decoys"], ["title"])
            complaints = await restore(file, other_url, check=False)
            assert "error:" in complaints
            async with running_ingest(other_url, encoder):
                again = await watch(other, ["items"], ["title"])
                await again.settle_right(encoder)
                assert decoys.watch_id != again.watch_id
                await run(other, "update items set title = 'after it' where id = 1")
                await again.settle_right(encoder)
                await decoys.settle_right(encoder)
            assert await value(other, "select count(*) from pg_trigger where tgrelid = 'items'::regclass") == 5


async def test_a_dropped_table_restored_into_its_database_can_be_watched_again(
    database_url: str, db: Connection, open_tmp_path: Path
) -> None:
    """The restored triggers call functions of the watch on the dropped table."""
    encoder = GatedEncoder()
    table = await make_texts(db, 10)
    file = open_tmp_path / "dump.custom"
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    dump(database_url, file, "--format=custom", "--table=public.items")
    await run(db, "drop table items")
    await restore(file, database_url)
    await run(db, "insert into items values (11, 'before it is watched again')")
    async with running_ingest(database_url, encoder):
        again = await watch(db, ["items"], ["title"])
        await again.settle_right(encoder)
        await run(db, "update items set title = 'after it' where id = 1")
        await again.settle_right(encoder)
    assert again.watch_id != table.watch_id
    assert await run(
        db, "select distinct substring(tgname from '[0-9]+')::int from pg_trigger where tgname ~ 'sidecar'"
    ) == [(again.watch_id,)]


async def test_a_move_that_was_dumped_halfway_goes_on_with_all_that_is_left(
    database_url: str,
    restored_url: str,
    db: Connection,
    restored: Connection,
    encoder: GatedEncoder,
    open_tmp_path: Path,
) -> None:
    """The move remembers a place in its ledger, whose entries lie elsewhere in the restored database."""
    table = await make_texts(db, 12)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    encoder.texts.clear()
    table = await watch(db, ["items"], ["title"], companion="vectors", replace=True)
    assert await value(db, f"select sidecar_internal.move_page({table.watch_id}, 5)") == 5
    dump(database_url, open_tmp_path / "moving.sql")

    await restore(open_tmp_path / "moving.sql", restored_url)

    async with running_ingest(restored_url, encoder):
        await replace(table, connection=restored).settle_right(encoder)
    assert encoder.texts == {}
