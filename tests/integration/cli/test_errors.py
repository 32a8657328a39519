"""Errors of the database, the table or the watch: a line or two on stderr, no traceback, no password."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.command_line import CommandLine
from tests.integration.cli.conftest import Db
from tests.ports import find_free_port

NEED_A_DATABASE = [
    ("migrate",),
    ("watch", "products", "--source", "title"),
    ("unwatch", "products"),
    ("status",),
    ("failures",),
    ("retry", "products"),
    ("search", "products", "red shoes"),
    ("plan", "products", "title"),
    ("pause",),
    ("resume",),
    ("rate", "products", "50"),
    ("reembed", "products"),
    ("doctor",),
]
NEED_A_WATCH = [
    ("pause", "products"),
    ("resume", "products"),
    ("rate", "products", "50"),
    ("reembed", "products"),
    ("unwatch", "products"),
    ("status", "products"),
    ("failures", "products"),
    ("retry", "products"),
    ("search", "products", "red shoes"),
]


@pytest.mark.parametrize("command", NEED_A_DATABASE)
def test_without_a_database_url(command_line: CommandLine, command: tuple[str, ...]) -> None:
    error = command_line.fail(*command, code=2)
    assert "DATABASE_URL is not set" in error
    assert "--database-url" in error


@pytest.mark.parametrize("command", NEED_A_DATABASE)
def test_with_a_database_that_is_down(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    port = find_free_port()
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:hunter2@127.0.0.1:{port}/shop")
    error = command_line.fail(*command)
    assert f"cannot connect to postgresql://me:***@127.0.0.1:{port}/shop" in error
    assert "Connection refused" in error


@pytest.mark.parametrize("command", [("status",), ("migrate",)])
def test_with_a_wrong_password(command_line: CommandLine, database_url: str, command: tuple[str, ...]) -> None:
    parts = urlsplit(database_url)
    wrong = parts._replace(netloc=f"nobody:hunter2@{parts.hostname}:{parts.port}").geturl()
    error = command_line.fail(*command, "--database-url", wrong)
    assert "nobody" in error
    assert "hunter2" not in error


def test_without_pgvector(db: Db, command_line: CommandLine) -> None:
    db.execute("drop extension vector cascade")
    error = command_line.fail("watch", "products", "--source", "title")
    assert "the pgvector extension is not installed" in error
    assert "HINT: Run: create extension vector" in error


@pytest.mark.parametrize("command", NEED_A_WATCH)
def test_with_a_table_that_does_not_exist(db: Db, command_line: CommandLine, command: tuple[str, ...]) -> None:
    name, _, *rest = command
    error = command_line.fail(name, "produtcs", *rest)
    assert 'relation "produtcs" does not exist' in error
    assert "HINT:" in error


@pytest.mark.parametrize("command", NEED_A_WATCH)
def test_with_a_table_that_is_not_watched(db: Db, command_line: CommandLine, command: tuple[str, ...]) -> None:
    assert "table public.products is not watched" in command_line.fail(*command)


@pytest.mark.parametrize("command", [("unwatch", "products"), ("retry", "products"), ("search", "products", "hat")])
def test_with_several_watches_and_no_target(db: Db, command_line: CommandLine, command: tuple[str, ...]) -> None:
    for target in ("e", "f"):
        db.execute("select sidecar.watch('products', source => 'title', target => %s::text)", [target])
    error = command_line.fail(*command)
    assert "products has 2 watches" in error
    assert "HINT: Name the target, one of: 'e', 'f'" in error
    assert "'e', 'f'" in command_line.fail(*command, "--target", "g")


def test_with_a_column_that_does_not_exist(db: Db, command_line: CommandLine) -> None:
    assert "has no column 'colour'" in command_line.fail("watch", "products", "--source", "colour")


def test_with_a_table_without_a_primary_key(db: Db, command_line: CommandLine) -> None:
    db.execute("create table heap (title text)")
    assert "table public.heap has no primary key" in command_line.fail("watch", "heap", "--source", "title")


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg", "psycopg2"])
def test_an_address_as_sqlalchemy_writes_it_works_in_every_command(
    db: Db, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, database_url: str, driver: str
) -> None:
    url = database_url.replace("postgresql://", f"postgresql+{driver}://")
    assert url != database_url
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("LISTEN_DATABASE_URL", url)
    for command in (("migrate",), ("status",), ("plan", "products", "title"), ("pause",)):
        command_line.succeed(*command)
    assert command_line("doctor").code in {0, 3}
