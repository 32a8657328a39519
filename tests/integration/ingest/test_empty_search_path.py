"""Roles and databases with an empty `search_path`, as on hardened servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from sidecar.operations.migrations import migrate
from tests.command_line import CommandLine
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, run, user, value, watch
from tests.waiting import wait_until_async


@pytest.fixture
async def hardened(plain_database_url: str) -> AsyncIterator[Connection]:
    async with user(plain_database_url) as admin:
        await run(admin, f"alter database \"{admin.info.dbname}\" set search_path = ''")
    async with user(plain_database_url) as connection:
        yield connection


async def test_migrating_watching_embedding_indexing_and_searching_work(
    plain_database_url: str, hardened: Connection
) -> None:
    await asyncio.to_thread(migrate, plain_database_url)
    await run(hardened, "create table public.items (id bigint primary key, title text)")
    await run(hardened, "insert into public.items select i, 'title ' || i from generate_series(1, 5) i")
    table = await watch(hardened, ["public", "items"], ["title"], index="halfvec", companion="vectors")
    encoder = GatedEncoder()
    async with running_ingest(plain_database_url, encoder):
        await table.settle_right(encoder)

        async def is_ready() -> bool:
            return bool(
                await value(hardened, "select state = 'up to date' and index like '%hnsw%' from sidecar.status")
            )

        await wait_until_async(is_ready, "the index", timeout_s=20)
    vector = "(select embedding::text from public.vectors where id = 3)"
    assert await run(hardened, f"select key from sidecar.search('public.items', {vector}, k => 1)") == [({"id": 3},)]


def test_commands_work(
    plain_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_line = CommandLine(monkeypatch, capsys)
    monkeypatch.setenv("DATABASE_URL", plain_database_url)
    with psycopg.connect(plain_database_url, autocommit=True) as admin:
        admin.execute(f"alter database \"{admin.info.dbname}\" set search_path = ''".encode())
        command_line.succeed("migrate")
        admin.execute("create table public.items (id bigint primary key, title text)")
    assert "public.items" in command_line.succeed("watch", "public.items", "--source", "title")
    assert "public.items" in command_line.succeed("status")
    assert command_line("doctor").code in (0, 3)
    command_line.succeed("unwatch", "public.items")
    command_line.succeed("uninstall", "--yes")
