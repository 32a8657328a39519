"""A server and databases for the benchmarks."""

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
from tests.waiting import wait_until_async

FINGERPRINT = "benchmark"
DIMENSIONS = 1152


@contextmanager
def scratch_server() -> Iterator[Server]:
    """An embedded server configured like a small production machine; fsync and full-page writes are on."""
    settings = {
        "shared_buffers": "1GB",
        "max_wal_size": "4GB",
        "maintenance_work_mem": "512MB",
        "max_connections": "200",
    }
    with open_directory() as directory, EmbeddedPostgres(directory / "data", settings=settings) as server:
        yield Server(server.url)


@contextmanager
def scratch_database(server: Server) -> Iterator[str]:
    """The URL of a migrated database, which is dropped at the end."""
    name = server.create_database()
    url = server.database_url(name)
    migrate(url)
    try:
        yield url
    finally:
        server.drop_database(name)


def execute(url: str, *statements: str) -> None:
    """Run statements, each in its own transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """A connection pool of the sidecar."""
    database = Database(SecretStr(url))
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def until_backfilled(connection: psycopg.AsyncConnection) -> None:
    """Wait for the backfills of all watches to finish. `connection` commits by itself."""

    async def are_finished() -> bool:
        cursor = await connection.execute(
            b"select not exists (select from sidecar_internal.scans where purpose = 'backfill' and finished_at is null)"
        )
        return await cursor.fetchone() == (True,)

    await wait_until_async(are_finished, "the backfills", timeout_s=60)


async def only_watch(connection: Connection) -> Watch:
    """The only watch of the database, with FINGERPRINT as its encoder's."""
    await connection.execute("update sidecar_internal.watches set fingerprint = $1, encoder = $1", FINGERPRINT)
    (watch,) = await load_watches(connection)
    return watch


def new_lease() -> Lease:
    return Lease(uuid4(), 60.0)
