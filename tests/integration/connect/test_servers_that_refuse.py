"""Servers that refuse a client, demand SSL, or lack what is needed: one line of ERROR, and a HINT that helps."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from sidecar.embedded_postgres.server import EmbeddedPostgres
from tests.command_line import CommandLine
from tests.servers import open_directory

COMMANDS = ["status", "migrate"]
_RULES = "host all postgres 127.0.0.1/32 scram-sha-256\nhostssl all walled all scram-sha-256\n"


@dataclass(frozen=True)
class GuardedServer:
    """A server that admits its superuser, `walled` over SSL only, and no other role. `hba` is its pg_hba.conf."""

    url: str
    hba: Path

    def url_of(self, role: str) -> str:
        parts = urlsplit(self.url)
        return parts._replace(netloc=f"{role}:pw@{parts.hostname}:{parts.port}").geturl()

    def run(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute(statement.encode())


@pytest.fixture(scope="module")
def server() -> Iterator[GuardedServer]:
    with open_directory() as directory:
        hba = directory / "pg_hba.conf"
        hba.write_text(_RULES)
        hba.chmod(0o644)
        with EmbeddedPostgres(directory / "data", settings={"fsync": "off", "hba_file": str(hba)}) as postgres:
            guarded = GuardedServer(postgres.url, hba)
            guarded.run("create role guest login superuser password 'pw'; create role walled login password 'pw'")
            yield guarded


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def test_a_client_without_a_line_in_pg_hba_is_told_the_line_and_admitted_by_it(
    server: GuardedServer, command_line: CommandLine
) -> None:
    url = server.url_of("guest")
    error, hint = command_line.fail("status", "--database-url", url).splitlines()
    assert 'no pg_hba.conf entry for host "127.0.0.1", user "guest"' in error
    _, _, cure = hint.partition("add this line to pg_hba.conf, then run ")
    statement, _, line = cure.partition("; ")
    server.hba.write_text(f"{_RULES}{line}\n")
    server.run(statement)
    assert command_line.succeed("migrate", "--database-url", url)


def test_a_client_without_encryption_is_told_how_to_ask_for_it(
    server: GuardedServer, command_line: CommandLine
) -> None:
    for command in COMMANDS:
        error, hint = command_line.fail(command, "--database-url", server.url_of("walled")).splitlines()
        assert "no pg_hba.conf entry" in error
        assert "no encryption" in error
        assert "If the server demands SSL, add ?sslmode=require" in hint


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_is_too_old_is_named_with_its_version(
    command_line: CommandLine, database_url: str, command: str
) -> None:
    with presented_as(database_url, b"14.22") as url:
        error, hint = command_line.fail(command, "--database-url", url).splitlines()
    assert error == "ERROR: the server is PostgreSQL 14.22; 15 or newer is needed."
    assert hint.startswith("HINT: Upgrade the server")


def test_a_database_without_pgvector_is_told_what_to_create(
    command_line: CommandLine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("drop extension vector cascade; create table items (id bigint primary key, title text)")
        error, hint = command_line.fail("watch", "items", "--source", "title").splitlines()
        assert "the pgvector extension is not installed in database" in error
        admin.execute(hint.partition("Run: ")[2].encode())
    assert command_line("watch", "items", "--source", "title").code == 0


def test_a_server_without_pgvector_is_told_what_to_install(
    command_line: CommandLine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with psycopg.connect(database_url, autocommit=True) as admin:
        if admin.info.server_version < 180000:
            pytest.skip("only Postgres 18 can be told to look for extensions elsewhere")
        admin.execute("drop extension vector cascade; create table items (id bigint primary key, title text)")
        admin.execute(f"alter database {admin.info.dbname} set extension_control_path = '/nowhere'".encode())
    _, hint = command_line.fail("watch", "items", "--source", "title").splitlines()
    assert "apt-get install postgresql-18-pgvector; then run: create extension vector;" in hint
    assert "apt-get install postgresql-18-pgvector" in command_line("doctor").stdout


class _Relay(socketserver.ThreadingTCPServer):
    """Passes the connections of clients on to `target`, whose version it replaces."""

    def __init__(self, target: tuple[str, int], version: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _RelayedConnection)
        self.target = target
        self.version = version


class _RelayedConnection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Relay)
        version = self.server.version
        with socket.create_connection(self.server.target) as upstream:
            back = threading.Thread(target=self._pass_back, args=(upstream, version), name="relay")
            back.start()
            while data := self.request.recv(65536):
                upstream.sendall(data)
            upstream.shutdown(socket.SHUT_WR)
            back.join()

    def _pass_back(self, upstream: socket.socket, version: bytes) -> None:
        while data := upstream.recv(65536):
            self.request.sendall(_rename(data, version))


@contextmanager
def presented_as(database_url: str, version: bytes) -> Iterator[str]:
    """The URL of a relay to the server that gives this as its version."""
    target = urlsplit(database_url)
    assert target.hostname is not None
    assert target.port is not None
    with _Relay((target.hostname, target.port), version) as relay:
        serving = threading.Thread(target=relay.serve_forever, args=(0.01,), name="relay")
        serving.start()
        try:
            user = target.netloc.rpartition("@")[0]
            yield target._replace(netloc=f"{user}@127.0.0.1:{relay.server_address[1]}").geturl()
        finally:
            relay.shutdown()
            serving.join()


def _rename(data: bytes, version: bytes) -> bytes:
    """Replaces the value of the parameter `server_version`, a message of type S with its length."""
    name = b"server_version\x00"
    at = data.find(name)
    if at < 0:
        return data
    end = data.index(b"\x00", at + len(name))
    length = 4 + len(name) + len(version) + 1
    return data[: at - 4] + length.to_bytes(4, "big") + name + version + data[end:]
