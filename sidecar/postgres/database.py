"""Connections to Postgres, set up the way the sidecar's statements need them, and their errors translated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias

import asyncpg
from pydantic import SecretStr

from sidecar.errors import Contention, DatabaseUnavailable, StatementRejected, WatchChanged
from sidecar.postgres.vectors import register_vector
from sidecar.redaction import redact

# A string, because asyncpg's classes take parameters for the type checker only.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 2.0

# row_security off: rows that a policy hides raise an error instead of looking deleted.
# synchronous_commit off: a vector and the deletion of its event are lost together, and made again.
# search_path: operators come from pg_catalog; everything of ours and the user's is qualified.
SESSION_SETTINGS = {
    "application_name": "sidecar",
    "default_transaction_isolation": "read committed",
    "row_security": "off",
    "sidecar.writer": "on",
    "synchronous_commit": "off",
    "search_path": "pg_catalog, pg_temp",
    "lock_timeout": "250ms",
    "idle_in_transaction_session_timeout": "2s",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
}

_UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a backend that is terminated at the wrong moment confuses asyncpg's protocol
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
    TimeoutError,
)
_CONTENTION = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.QueryCanceledError,
)
_CHANGED = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.DatatypeMismatchError,
    asyncpg.InvalidCachedStatementError,
)


@contextmanager
def translated() -> Iterator[None]:
    """The edge to Postgres: raises DatabaseUnavailable, Contention, WatchChanged or StatementRejected."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise DatabaseUnavailable(redact(str(error)) or type(error).__name__) from error
    except _CONTENTION as error:
        raise Contention(str(error)) from error
    except _CHANGED as error:
        raise WatchChanged(str(error)) from error
    except asyncpg.PostgresError as error:
        hint = getattr(error, "hint", None)
        raise StatementRejected(error.args[0] if error.args else str(error), error.sqlstate or "XX000", hint) from error


async def connect(url: SecretStr) -> asyncpg.Connection[asyncpg.Record]:
    """One connection of its own, for the listener and for index builds. The caller closes it."""
    with translated():
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
            url.get_secret_value(), timeout=CONNECT_TIMEOUT_S, server_settings=SESSION_SETTINGS
        )
    return connection


async def disconnect(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Closes it, and cancels what runs on it: a server would go on with an index build that nobody waits for."""
    try:
        await connection.close(timeout=CLOSE_TIMEOUT_S)
    except (asyncpg.PostgresError, *_UNAVAILABLE):
        connection.terminate()


async def _end_transaction(connection: Connection) -> None:
    """All that may be left in a session of ours; asyncpg's own reset costs 0.3 ms each time one is given back."""
    if connection.is_in_transaction():
        await connection.execute("rollback")


class Database:
    """A pool. It connects when first needed: a database that is down does not keep the process from starting."""

    def __init__(self, url: SecretStr, max_connections: int = 8) -> None:
        self.url = url
        self._max_connections = max_connections
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def open(self) -> None:
        with translated():
            self._pool = await asyncpg.create_pool(
                self.url.get_secret_value(),
                min_size=0,
                max_size=self._max_connections,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                init=register_vector,
                server_settings=SESSION_SETTINGS,
                reset=_end_transaction,
            )

    async def close(self) -> None:
        """Waits a moment for borrowed connections, then cuts them."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        try:
            await asyncio.wait_for(pool.close(), timeout=CLOSE_TIMEOUT_S)
        except TimeoutError:
            pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection from the pool, outside any transaction. Errors inside the block are translated too."""
        if self._pool is None:
            raise DatabaseUnavailable("the pool is closed")
        with translated():
            async with self._pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
                yield connection
