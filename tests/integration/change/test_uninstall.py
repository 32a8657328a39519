"""uninstall removes everything except the vectors."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import psycopg
import pytest

from tests.command_line import CommandLine
from tests.integration.change.dumps import dump
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import make_texts
from tests.integration.ingest.watched_table import Connection, run, value, watch
from tests.waiting import wait_until_async

NOISE = re.compile(r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict.*|)\n", re.MULTILINE)


def schema_of(url: str, directory: Path) -> set[str]:
    """The statements of a schema-only dump."""
    file = directory / "schema.sql"
    dump(url, file, "--schema-only")
    return {statement.strip() for statement in NOISE.sub("", file.read_text(encoding="utf-8")).split(";\n")}


@pytest.fixture
def command_line(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.setenv("DATABASE_URL", database_url)
    return CommandLine(monkeypatch, capsys)


TABLES = """
    create schema shop;
    create table items (id bigint primary key, title text, price integer default 0);
    create table shop.photos (nr int primary key, caption text);
    create table parts (id int primary key, title text) partition by range (id);
    create table parts_1 partition of parts for values from (0) to (100);
    create table former (id int primary key, title text);
    insert into items values (1, 'a');
    insert into shop.photos values (1, 'b');
"""
# All that a sidecar may leave behind in those tables.
VECTORS = """
    alter table items add embedding vector(16), add other vector(16);
    create index items_embedding_hnsw_1 on items using hnsw ((embedding::halfvec(16)) halfvec_cosine_ops);
    create table shop.vectors (nr int, embedding vector(16) not null, primary key (nr));
    alter table parts add embedding vector(16);
    alter table former add embedding vector(16);
"""


@pytest.fixture
def wanted(plain_database_url: str, tmp_path: Path) -> set[str]:
    """The statements that a dump must consist of after uninstall."""
    with psycopg.connect(plain_database_url, autocommit=True) as plain:
        plain.execute(b"create extension vector")
        plain.execute(TABLES.encode())
        plain.execute(VECTORS.encode())
    return schema_of(plain_database_url, tmp_path)


async def make_watches(url: str, db: Connection, encoder: GatedEncoder) -> None:
    """Watches in rows, in a companion and in partitions, a former one, and one on a dropped table."""
    items = await watch(db, ["items"], ["title"], index="halfvec")
    photos = await watch(db, ["shop", "photos"], ["caption"], ["nr"], companion="vectors")
    await watch(db, ["parts"], ["title"])
    await watch(db, ["former"], ["title"])
    await run(db, "select sidecar.unwatch('former')")
    await watch(db, ["items"], ["title"], target="other")
    await run(db, "create table gone (id int primary key, title text)")
    await watch(db, ["gone"], ["title"])
    async with running_ingest(url, encoder):
        await items.settle_right(encoder)
        await photos.settle_right(encoder)

        async def has_index() -> bool:
            # A dump omits an index that is not valid yet.
            indexes = "select pg_get_indexdef(indexrelid) as made from pg_index where indisvalid"
            return bool(await value(db, f"select exists (select from ({indexes}) i where made like '%% hnsw %%')"))

        await wait_until_async(has_index, "the index")
    await run(db, "drop table gone")


async def test_uninstall_leaves_only_the_vectors(
    database_url: str,
    wanted: set[str],
    db: Connection,
    encoder: GatedEncoder,
    tmp_path: Path,
    command_line: CommandLine,
) -> None:
    await run(db, TABLES)
    await make_watches(database_url, db, encoder)
    said = command_line.succeed("uninstall", "--yes")
    assert "  table shop.vectors with its vectors\n    drop table shop.vectors;\n" in said
    left = schema_of(database_url, tmp_path)
    assert (left - wanted, wanted - left) == (set(), set())
    assert await value(db, "select count(embedding) from items") == 1
    await run(db, "update items set title = 'no trigger'")
    assert "sidecar migrate" in command_line.fail("uninstall", "--yes")


async def test_uninstall_is_refused_while_a_sidecar_runs_unless_forced(
    database_url: str,
    db: Connection,
    encoder: GatedEncoder,
    caplog: pytest.LogCaptureFixture,
    command_line: CommandLine,
) -> None:
    table = await make_texts(db, 3)
    async with running_ingest(database_url, encoder) as running:
        await table.settle_right(encoder)
        with pytest.raises(psycopg.errors.ObjectInUse, match="a sidecar is running on this database"):
            await run(db, "select sidecar.uninstall()")
        await run(db, "update items set title = 'as before' where id = 1")
        await table.settle_right(encoder)

        caplog.clear()
        await run(db, "select sidecar.uninstall(force => true)")
        await run(db, "update items set title = 'without triggers'")

        async def has_noticed() -> bool:
            return any("refuses what a sidecar has to do" in record.message for record in caplog.records)

        await wait_until_async(has_noticed, "the sidecar to notice")
        assert not running.task.done()
        assert await value(db, "select count(embedding) from items") == 3


async def test_answering_no_to_the_confirmation_changes_nothing(
    database_url: str, db: Connection, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_texts(db, 1)
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    outcome = command_line("uninstall")
    assert outcome.code == 1
    assert await value(db, "select count(*) from sidecar.status") == 1


async def test_uninstall_is_refused_while_users_objects_depend_on_the_schema(db: Connection) -> None:
    await make_texts(db, 1)
    await run(db, "create view dashboard as select state from sidecar.status")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match=r"schema sidecar is used by public\.dashboard"):
        await run(db, "select sidecar.uninstall()")
    await run(db, "drop view dashboard")
    await run(db, "select sidecar.uninstall()")
    assert await value(db, "select to_regnamespace('sidecar')") is None


async def test_the_vectors_are_used_again_after_a_new_installation(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    from sidecar.operations.migrations import migrate

    table = await make_texts(db, 3)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    await run(db, "select sidecar.uninstall(force => true)")
    migrate(database_url)
    again = await watch(db, ["items"], ["title"])
    async with running_ingest(database_url, encoder):
        await again.settle_right(encoder)
