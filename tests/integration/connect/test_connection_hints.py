"""What cannot be connected to is named with what to correct, in one line of ERROR and one of HINT."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import psycopg
import pytest

from tests.command_line import CommandLine
from tests.ports import find_free_port


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("fault", "error", "hint"),
    [
        ("port", "Connection refused", "Nothing listens there"),
        ("password", "password authentication failed", "Correct user and password"),
        ("user", "password authentication failed", "Correct user and password"),
        ("database", "does not exist", "create database nowhere;"),
        ("tls", "SSL was required", "sslmode=prefer"),
        ("host", "resolve host", "Correct the host"),
    ],
)
def test_a_wrong_address(command_line: CommandLine, database_url: str, fault: str, error: str, hint: str) -> None:
    parts = urlsplit(database_url)
    changed = {
        "port": parts._replace(netloc=f"me:pw@127.0.0.1:{find_free_port()}"),
        "password": parts._replace(netloc=f"{parts.username}:wrong@{parts.hostname}:{parts.port}"),
        "user": parts._replace(netloc=f"nobody_of_that_name:wrong@{parts.hostname}:{parts.port}"),
        "database": parts._replace(path="/nowhere"),
        "tls": parts._replace(query="sslmode=require"),
        "host": parts._replace(netloc="me:pw@no-such-host.invalid"),
    }
    said = command_line.fail("status", "--database-url", changed[fault].geturl())
    assert error in said.splitlines()[0]
    assert hint in said.splitlines()[1]


def test_a_role_that_may_not_connect_or_log_in(command_line: CommandLine, database_url: str) -> None:
    parts = urlsplit(database_url)
    with psycopg.connect(database_url, autocommit=True) as admin:
        name = f"guest_{admin.info.dbname}"
        admin.execute(f"create role {name} password 'pw'".encode())
        try:
            admin.execute(f"revoke connect on database {admin.info.dbname} from public".encode())
            url = parts._replace(netloc=f"{name}:pw@{parts.hostname}:{parts.port}").geturl()
            for _ in range(2):  # the statement of the first hint leads to the second
                hint = command_line.fail("status", "--database-url", url).splitlines()[1]
                admin.execute(hint.partition("run: ")[2].encode())
            assert "grant_reader" in command_line.fail("status", "--database-url", url)
        finally:
            admin.execute(f"drop owned by {name}".encode())
            admin.execute(f"drop role {name}".encode())


@pytest.mark.parametrize("limited", ["role", "database"])
def test_a_connection_limit(command_line: CommandLine, database_url: str, limited: str) -> None:
    parts = urlsplit(database_url)
    with psycopg.connect(database_url, autocommit=True) as admin:
        name = f"Guest {admin.info.dbname}"
        admin.execute(f"create role \"{name}\" login password 'pw'".encode())
        try:
            names = {"role": f'"{name}"', "database": admin.info.dbname}
            admin.execute(f"alter {limited} {names[limited]} connection limit 0".encode())
            url = parts._replace(netloc=f"{quote(name)}:pw@{parts.hostname}:{parts.port}").geturl()
            said = command_line.fail("status", "--database-url", url)
            assert f"too many connections for {limited}" in said.splitlines()[0]
            admin.execute(said.splitlines()[1].partition("run: ")[2].encode())
            assert "grant_reader" in command_line.fail("status", "--database-url", url)
        finally:
            admin.execute(f'drop role "{name}"'.encode())


def test_a_read_only_database(command_line: CommandLine, database_url: str) -> None:
    url = database_url + "?options=-c%20default_transaction_read_only%3Don"
    assert "HINT: Connect to the primary" in command_line.fail("uninstall", "--yes", "--database-url", url)
