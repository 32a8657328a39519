"""Postgres servers for the tests, and databases in them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from sidecar.embedded_postgres.server import EmbeddedPostgres
from tests.waiting import wait_until

# No data of a test outlives its server, so durability would only cost time.
_FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}


class Server:
    """A server in which tests create databases. `url` is its superuser's, on database `postgres`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def database_url(self, name: str) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    @contextmanager
    def lend_database(self, template: str = "template0") -> Iterator[str]:
        """The URL of a copy of database `template`, dropped at the end. Fails if a connection to it stays open."""
        name = self.create_database(template)
        try:
            yield self.database_url(name)
            # A backend ends a moment after its client.
            wait_until(
                lambda: not self._connections_to(name),
                lambda: f"all connections to be closed; open are {self._connections_to(name)}",
                timeout_s=8,
            )
        finally:
            self.drop_database(name)

    def create_database(self, template: str = "template0") -> str:
        """Creates a database as a copy of `template` and returns its unique name."""
        name = f"sidecar_test_{uuid4().hex}"
        self._execute(sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def drop_database(self, name: str) -> None:
        self._execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    def _connections_to(self, name: str) -> list[str]:
        query = (
            "select concat_ws(' ', application_name, state, query) from pg_stat_activity "
            "where datname = %s and backend_type = 'client backend'"  # autovacuum gives way to the drop
        )
        with psycopg.connect(self.url) as connection:
            return [row[0] for row in connection.execute(query, [name])]

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def open_directory() -> Iterator[Path]:
    """A new directory that other users can enter, as root's embedded server needs; pytest's own are private."""
    directory = Path(tempfile.mkdtemp(prefix="sidecar-test-"))
    try:
        directory.chmod(0o711)
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def embedded_server(version: str) -> Iterator[Server]:
    with (
        open_directory() as directory,
        EmbeddedPostgres(directory / "data", version, settings=_FAST_SETTINGS) as server,
    ):
        yield Server(server.url)


@contextmanager
def container_server(version: str) -> Iterator[Server]:
    from testcontainers.postgres import PostgresContainer

    options = " ".join(f"-c {name}={value}" for name, value in _FAST_SETTINGS.items())
    image = f"pgvector/pgvector:pg{version}"
    postgres = PostgresContainer(image, username="postgres", password="secret", dbname="postgres", driver=None)
    with postgres.with_command(f"postgres {options}") as container:
        yield Server(container.get_connection_url())


class Servers:
    """One server per version, started on first use and stopped by `stack`."""

    def __init__(self, stack: ExitStack, url: str | None, in_containers: bool) -> None:
        self._stack = stack
        self._url = url
        self._start = container_server if in_containers else embedded_server
        self._servers: dict[str, Server] = {}
        self._templates: dict[str, str] = {}

    def server(self, version: str) -> Server:
        if version not in self._servers:
            self._servers[version] = Server(self._url) if self._url else self._stack.enter_context(self._start(version))
        return self._servers[version]

    def migrated_template(self, version: str) -> str:
        """A database with the schema `sidecar`, never connected to."""
        from sidecar.operations.migrations import migrate

        server = self.server(version)
        if version not in self._templates:
            self._templates[version] = server.create_database()
            migrate(server.database_url(self._templates[version]))
            self._stack.callback(server.drop_database, self._templates[version])
        return self._templates[version]
