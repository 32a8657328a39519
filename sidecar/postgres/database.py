"""Connections to Postgres with the settings that the sidecar needs; translates asyncpg's errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from textwrap import shorten
from typing import Any, TypeAlias

import asyncpg
from pydantic import SecretStr

from sidecar.concurrency import Backoff
from sidecar.errors import Contention, DatabaseError, DatabaseUnavailable, StatementRejected, TimedOut, WatchChanged
from sidecar.postgres.address import open_connection, read_address
from sidecar.postgres.outage import Outage
from sidecar.postgres.remedies import NOT_PERMITTED, grant_worker_hint
from sidecar.postgres.session_settings import SESSION_SETTINGS, TCP_SETTINGS
from sidecar.postgres.statements import statement
from sidecar.postgres.transaction_pooling import DirectConnection, TransactionPooledConnection
from sidecar.postgres.trouble_log import TroubleLog
from sidecar.postgres.vectors import register_vector
from sidecar.redaction import redact

logger = logging.getLogger(__name__)

Connection: TypeAlias = "DirectConnection | TransactionPooledConnection"

CONNECT_TIMEOUT_S = 12.0  # of the pool: longer than one attempt to connect, whose error is more specific
COMMAND_TIMEOUT_S = 60.0
MAX_CONNECTIONS = 8
CLOSE_TIMEOUT_S = 2.0
WATCH_INTERVAL_S = 5.0
# Between attempts to reach a database that is away: rows wait no longer than that once it is back.
FIRST_RECONNECT_S, LAST_RECONNECT_S = 0.1, 3.0

_UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # raised when a backend is terminated in the middle of a protocol exchange
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.DatabaseDroppedError,
    asyncpg.InFailedSQLTransactionError,
    asyncpg.NoActiveSQLTransactionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
    TimeoutError,
)
# Errors that concern every session with the server: it accepts no writes any longer, or went down.
_UNFIT_SERVER = (
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
)
DIRECT_SETTINGS = {**SESSION_SETTINGS, "statement_timeout": "0"}
_TIMED_OUT = (asyncpg.QueryCanceledError, asyncpg.TransactionTimeoutError)
_CONTENTION = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_WATCH_CHANGED = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.DatatypeMismatchError,
    asyncpg.InvalidCachedStatementError,
)
# After a restore has created pgvector again: open connections know its types by their old OIDs.
_STALE_TYPE_ERRORS = ("cache lookup failed for type", "invalid input for query argument")


def reconnect_backoff() -> Backoff:
    """Delays between attempts to reach a database that is away: 0.1, 0.2 … 3 s."""
    return Backoff(FIRST_RECONNECT_S, LAST_RECONNECT_S)


@contextmanager
def translate_asyncpg_errors() -> Iterator[None]:
    """Raises asyncpg's errors as DatabaseUnavailable, TimedOut, Contention, WatchChanged or StatementRejected."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise DatabaseUnavailable(redact(str(error)) or type(error).__name__) from error
    except _TIMED_OUT as error:
        raise TimedOut(str(error)) from error
    except _CONTENTION as error:
        raise Contention(str(error)) from error
    except _WATCH_CHANGED as error:
        raise WatchChanged(str(error)) from error
    except asyncpg.PostgresError as error:
        hint, column = (getattr(error, name, None) for name in ("hint", "column_name"))
        message = error.args[0] if error.args else str(error)
        raise StatementRejected(message, error.sqlstate or "XX000", hint, column) from error


class _SessionNotKept(Exception):
    """The session does not keep its settings: a pooler is in between."""


async def open_session(url: SecretStr) -> asyncpg.Connection[asyncpg.Record]:
    """Opens a connection outside any pool, for the listener and index builds, without a statement timeout.

    The caller closes it. Raises StatementRejected behind a pooler: LISTEN and session locks need a session.
    """
    with translate_asyncpg_errors():
        try:
            return await _open_session(url, DIRECT_SETTINGS)
        except _SessionNotKept as error:
            raise StatementRejected(
                f"{redact(url.get_secret_value())} leads to a connection pooler, which keeps no session",
                "08P01",
                "Set LISTEN_DATABASE_URL to a direct connection.",
            ) from error


async def _open_session(
    url: SecretStr, settings: Mapping[str, str], **options: Any
) -> asyncpg.Connection[asyncpg.Record]:
    """Raises _SessionNotKept behind a pooler, which rejects the settings or loses them."""
    try:
        connection = await open_connection(url, {**settings, **TCP_SETTINGS}, **options)
    except asyncpg.ProtocolViolationError as error:
        raise _SessionNotKept from error
    try:
        keeps_settings = await connection.fetchval(statement("prepare_session"))
    except BaseException:
        connection.terminate()
        raise
    if not keeps_settings:
        await close_session(connection)
        raise _SessionNotKept
    return connection


async def close_session(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Closes a connection and cancels its statement: the server would otherwise finish an abandoned index build."""
    try:
        await connection.close(timeout=CLOSE_TIMEOUT_S)
    except (asyncpg.PostgresError, *_UNAVAILABLE):
        connection.terminate()


async def _end_transaction(connection: DirectConnection) -> None:
    """The pool's reset. Nothing else can be left in a session; asyncpg's own reset would cost 0.3 ms per release."""
    if connection.is_in_transaction():
        await connection.execute("rollback")


class Database:
    """A connection pool. It connects on first use, so that the process starts while the database is down.

    `listen_url` leads past a pooler in transaction mode: if it is given, `url` is assumed to lead to one. Otherwise a
    pooler is recognised by its losing the session's settings. Databases of one process share their `outage`.

    Raises ConfigurationError for an address that cannot be parsed, which no retry would cure.
    """

    def __init__(
        self,
        url: SecretStr,
        listen_url: SecretStr | None = None,
        max_connections: int = MAX_CONNECTIONS,
        outage: Outage | None = None,
    ) -> None:
        for each in (url, listen_url):
            if each is not None:
                read_address(each.get_secret_value())
        self.url = url
        self.direct_url = listen_url or url
        self._behind_pooler = listen_url is not None
        self._max_connections = max_connections
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self.outage = outage or Outage()
        self._refusals = TroubleLog(logger, "rows wait, the database refuses what a sidecar has to do")

    def report(self, error: DatabaseError) -> None:
        """Logs an error of any user of the database, if its kind is new."""
        trouble = self.outage if isinstance(error, DatabaseUnavailable) else self._refusals
        trouble.report(self.with_hint(error))

    def with_hint(self, error: DatabaseError) -> DatabaseError:
        """The error, with the grant as its hint if our role lacks a right."""
        if not isinstance(error, StatementRejected) or error.sqlstate != NOT_PERMITTED or error.hint is not None:
            return error
        user = read_address(self.url.get_secret_value()).options.get("user") or ""
        return StatementRejected(error.message, error.sqlstate, grant_worker_hint(user))

    def report_success(self) -> None:
        """A write succeeded: ends the outage, if there was one."""
        self.outage.resolve()

    async def keep_watch(self) -> None:
        """Tries the database now and then, until cancelled, where nothing else would notice that it is gone or back."""
        backoff = reconnect_backoff()
        while True:
            try:
                async with self.connection() as connection:
                    await connection.fetchval(statement("ping"))
            except DatabaseError as error:
                self.report(error)
                await asyncio.sleep(backoff.next_s())
            else:
                self.report_success()
                backoff = reconnect_backoff()
                await asyncio.sleep(WATCH_INTERVAL_S)

    async def open(self) -> None:
        with translate_asyncpg_errors():
            self._pool = await asyncpg.create_pool(
                connect=self._connect,
                min_size=0,
                max_size=self._max_connections,
                command_timeout=COMMAND_TIMEOUT_S,
                init=register_vector,
                reset=_end_transaction,
            )

    async def close(self) -> None:
        """Waits briefly for connections in use, then terminates them."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        try:
            await asyncio.wait_for(pool.close(), timeout=CLOSE_TIMEOUT_S)
        except TimeoutError:
            pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection from the pool, outside any transaction. Errors inside the block are translated, too.

        A connection whose error shows its session to be unusable is closed, not returned to the pool.
        """
        if self._pool is None:
            raise DatabaseUnavailable("the pool is closed")
        with translate_asyncpg_errors():
            async with self._pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
                try:
                    yield (
                        TransactionPooledConnection(connection, SESSION_SETTINGS) if self._behind_pooler else connection
                    )
                except (*_UNAVAILABLE, asyncpg.PostgresError) as error:
                    await self._discard_unfit(connection, error)
                    raise

    async def is_reachable(self) -> bool:
        """Whether the server takes writes: then an error was its own statement's, and other watches can go on."""
        try:
            async with self.connection() as connection:
                takes_no_writes = await connection.fetchval(statement("ping"))
        except DatabaseError:
            return False
        return not takes_no_writes

    async def connect_outside_pool(self) -> asyncpg.Connection[asyncpg.Record]:
        """Opens a connection outside the pool, for statements that run as long as the process. The caller closes it.

        Behind a pooler without a way past it, it occupies one of the pooler's connections. Raises DatabaseError.
        """
        with translate_asyncpg_errors():
            try:
                return await _open_session(self.direct_url, DIRECT_SETTINGS)
            except _SessionNotKept:
                return await _connect_through_pooler(self.direct_url)

    async def _discard_unfit(self, connection: DirectConnection, error: BaseException) -> None:
        """Closes the connection if its session is lost; expires all others, too, if the error concerns the server."""
        if isinstance(error, asyncpg.PostgresError) and str(error).startswith(_STALE_TYPE_ERRORS):
            await self._expire()
            raise DatabaseUnavailable(f"pgvector was created again: {shorten(str(error), 100)}") from error
        if isinstance(error, _UNAVAILABLE):
            with suppress(asyncpg.InterfaceError):  # the pool may have noticed it already
                connection.terminate()
        if isinstance(error, _UNFIT_SERVER):
            await self._expire()

    async def _expire(self) -> None:
        if self._pool is not None:
            await self._pool.expire_connections()

    async def _connect(self, *_pool: Any, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
        if not self._behind_pooler:
            try:
                return await _open_session(self.url, SESSION_SETTINGS, **options)
            except _SessionNotKept:
                self._behind_pooler = True
                logger.warning(
                    "DATABASE_URL leads to a connection pooler: new rows are found by polling, and no index is built."
                    " Set LISTEN_DATABASE_URL to a direct connection."
                )
        return await _connect_through_pooler(self.url, **options)


async def _connect_through_pooler(url: SecretStr, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
    """Connects without prepared statements, which the next server connection would not know."""
    settings = {"application_name": SESSION_SETTINGS["application_name"]}
    return await open_connection(url, settings, statement_cache_size=0, **options)
