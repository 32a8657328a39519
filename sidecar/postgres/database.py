"""Connections to Postgres, set up the way the sidecar's statements need them, and their errors translated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from textwrap import shorten
from typing import Any, TypeAlias

import asyncpg
from pydantic import SecretStr

from sidecar.errors import Contention, DatabaseUnavailable, StatementRejected, WatchChanged
from sidecar.postgres.pooled_connection import DirectConnection, PooledConnection
from sidecar.postgres.vectors import register_vector
from sidecar.redaction import redact

logger = logging.getLogger(__name__)

Connection: TypeAlias = "DirectConnection | PooledConnection"

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
# A restore dropped pgvector and made it anew: our connections know its types by their old numbers.
_OLD_TYPES = ("cache lookup failed for type", "invalid input for query argument")


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


class _IsPooler(Exception):
    """The session does not keep what is set in it."""


async def connect(url: SecretStr) -> asyncpg.Connection[asyncpg.Record]:
    """One connection of its own, for the listener and for index builds. The caller closes it.

    Raises StatementRejected where a pooler stands in between: LISTEN and session locks need a session.
    """
    with translated():
        try:
            return await _connect_directly(url.get_secret_value(), timeout=CONNECT_TIMEOUT_S)
        except _IsPooler as error:
            raise StatementRejected(
                f"{redact(url.get_secret_value())} leads to a connection pooler, which keeps no session",
                "08P01",
                "Set LISTEN_DATABASE_URL to a direct connection.",
            ) from error


async def _connect_directly(*arguments: Any, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
    """A pooler refuses our settings, or takes them and forgets them. Raises _IsPooler."""
    try:
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
            *arguments, **options, server_settings=SESSION_SETTINGS
        )
    except asyncpg.ProtocolViolationError as error:
        raise _IsPooler from error
    try:
        keeps_settings = await connection.fetchval("select current_setting('sidecar.writer', true)") == "on"
    except BaseException:
        connection.terminate()
        raise
    if not keeps_settings:
        await disconnect(connection)
        raise _IsPooler
    return connection


async def disconnect(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Closes it, and cancels what runs on it: a server would go on with an index build that nobody waits for."""
    try:
        await connection.close(timeout=CLOSE_TIMEOUT_S)
    except (asyncpg.PostgresError, *_UNAVAILABLE):
        connection.terminate()


async def _end_transaction(connection: DirectConnection) -> None:
    """All that may be left in a session of ours; asyncpg's own reset costs 0.3 ms each time one is given back."""
    if connection.is_in_transaction():
        await connection.execute("rollback")


class Database:
    """A pool. It connects when first needed: a database that is down does not keep the process from starting.

    `listen_url`, if there is one, leads past a pooler in transaction mode; then `url` is taken for one. Without it a
    pooler is recognised by what it does with our settings.
    """

    def __init__(self, url: SecretStr, listen_url: SecretStr | None = None, max_connections: int = 8) -> None:
        self.url = url
        self.direct_url = listen_url or url
        self._behind_pooler = listen_url is not None
        self._max_connections = max_connections
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def open(self) -> None:
        with translated():
            self._pool = await asyncpg.create_pool(
                self.url.get_secret_value(),
                connect=self._connect,
                min_size=0,
                max_size=self._max_connections,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                init=register_vector,
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
                try:
                    yield PooledConnection(connection, SESSION_SETTINGS) if self._behind_pooler else connection
                except asyncpg.PostgresError as error:
                    if not str(error).startswith(_OLD_TYPES):
                        raise
                    await self._pool.expire_connections()
                    raise DatabaseUnavailable(f"pgvector was made anew: {shorten(str(error), 100)}") from error

    async def _connect(self, *arguments: Any, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
        if not self._behind_pooler:
            try:
                return await _connect_directly(*arguments, **options)
            except _IsPooler:
                self._behind_pooler = True
                logger.warning(
                    "DATABASE_URL leads to a connection pooler: new rows are found by polling, and no index is built."
                    " Set LISTEN_DATABASE_URL to a direct connection."
                )
        # Statements that are prepared by name would be unknown to the next server connection.
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
            *arguments, **options, statement_cache_size=0, server_settings={"application_name": "sidecar"}
        )
        return connection
