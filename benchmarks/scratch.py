"""A server for the benchmarks, and a watched table in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import uuid4

import psycopg
from pydantic import SecretStr

from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.operations.migrations import migrate
from sidecar.postgres.database import Connection, Database
from sidecar.postgres.events import Lease
from sidecar.postgres.watches import Watch, load_watches
from tests.servers import Server, open_directory

FINGERPRINT = "benchmark"
DIMENSIONS = 1152


@contextmanager
def scratch_server() -> Iterator[Server]:
    """An embedded server with the settings of a modest production machine: fsync and full-page writes are on."""
    settings = {"shared_buffers": "1GB", "max_wal_size": "4GB", "max_connections": "200"}
    with open_directory() as directory, EmbeddedPostgres(directory / "data", settings=settings) as server:
        yield Server(server.url)


@contextmanager
def scratch_database(server: Server) -> Iterator[str]:
    """The URL of a migrated database that is dropped afterwards."""
    name = server.create_database()
    url = server.database_url(name)
    migrate(url)
    try:
        yield url
    finally:
        server.drop_database(name)


def execute(url: str, *statements: str) -> None:
    """Runs statements, each in its own transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """The sidecar's own pool."""
    database = Database(SecretStr(url))
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def only_watch(connection: Connection) -> Watch:
    """The one watch of the database, pinned to FINGERPRINT."""
    await connection.execute("update sidecar.watches set fingerprint = $1, encoder = $1", FINGERPRINT)
    (watch,) = await load_watches(connection)
    return watch


def new_lease() -> Lease:
    return Lease(uuid4(), 60.0)
