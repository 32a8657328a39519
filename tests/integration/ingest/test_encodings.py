"""Databases in encodings other than UTF-8, from the first migration to the vector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest

from sidecar.errors import DatabaseUnavailable
from sidecar.operations.migrations import current_revision, head_revision, migrate
from tests.command_line import CommandLine
from tests.encoders import HashEncoder
from tests.integration.ingest.composition import DIMENSIONS, running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, run, watch
from tests.servers import Server

WORDS = {"LATIN1": "café", "EUC_JP": "日本語", "SQL_ASCII": "naïve", "WIN1251": "привет"}


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


@pytest.fixture(params=WORDS)
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def encoded_url(postgres_server: Server, encoding: str) -> Iterator[str]:
    """An empty database in this encoding."""
    with postgres_server.lend_database() as lent:
        name = f"sidecar_test_{uuid4().hex}"
        with psycopg.connect(lent, autocommit=True) as connection:
            connection.execute(f"create database {name} encoding '{encoding}' locale 'C' template template0".encode())
        try:
            yield urlunsplit(urlsplit(lent)._replace(path=f"/{name}"))
        finally:
            postgres_server.drop_database(name)


@pytest.fixture
async def encoded(encoded_url: str) -> AsyncIterator[Connection]:
    connecting = psycopg.AsyncConnection.connect(encoded_url, autocommit=True, client_encoding="utf8")
    async with await connecting as connection:
        yield connection


async def test_names_keys_and_texts_of_the_encoding_are_embedded(
    encoded_url: str, encoded: Connection, encoding: str
) -> None:
    """Key, table, column and content have characters beyond ASCII; the content is embedded as UTF-8."""
    word = WORDS[encoding]
    await asyncio.to_thread(migrate, encoded_url)
    assert current_revision(encoded_url) == head_revision()
    await run(encoded, f'create table "{word}" (id text primary key, "{word}s" text)')
    await run(encoded, f'insert into "{word}" values (%s, %s)', word, word * 2)
    table = await watch(encoded, [word], [f"{word}s"])
    encoder = GatedEncoder()
    async with running_ingest(encoded_url, encoder):
        await table.settle_right(HashEncoder(dimensions=DIMENSIONS))
        await run(encoded, f'update "{word}" set "{word}s" = %s', word * 3)
        await table.settle_right(HashEncoder(dimensions=DIMENSIONS))
    assert set(encoder.texts) == {word * 2, word * 3}


def test_commands_work_in_the_encoding(
    encoded_url: str, encoding: str, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = WORDS[encoding]
    monkeypatch.setenv("DATABASE_URL", encoded_url)
    command_line.succeed("migrate")
    with psycopg.connect(encoded_url, autocommit=True, client_encoding="utf8") as connection:
        connection.execute(f'create table "{word}" (id int primary key, "{word}s" text)'.encode())
        connection.execute(f"""insert into "{word}" values (1, '{word}')""".encode())
    assert word in command_line.succeed("watch", f'"{word}"', "--source", f"{word}s", "--dimensions", "16")
    assert word in command_line.succeed("status")
    command_line.succeed("pause", f'"{word}"')
    assert command_line("doctor").code in (0, 3)
    command_line.succeed("unwatch", f'"{word}"')
    command_line.succeed("uninstall", "--yes")


def test_an_encoding_that_cannot_become_utf8_is_refused_with_one_line(
    postgres_server: Server, command_line: CommandLine
) -> None:
    name = f"sidecar_test_{uuid4().hex}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"create database {name} encoding 'MULE_INTERNAL' locale 'C' template template0".encode())
    try:
        url = postgres_server.database_url(name)
        assert "conversion between UTF8 and MULE_INTERNAL is not supported" in command_line.fail(
            "migrate", "--database-url", url
        )
        with pytest.raises(DatabaseUnavailable, match="conversion between UTF8 and MULE_INTERNAL is not supported"):
            migrate(url)
    finally:
        postgres_server.drop_database(name)
