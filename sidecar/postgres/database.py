"""Connections to Postgres, set up the way the sidecar's statements need them, and their errors translated."""

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
from sidecar.postgres.session_settings import SESSION_SETTINGS, TCP_SETTINGS
from sidecar.postgres.statements import statement
from sidecar.postgres.transaction_pooling import DirectConnection, TransactionPooledConnection
from sidecar.postgres.trouble_log import TroubleLog
from sidecar.postgres.vectors import register_vector
from sidecar.redaction import redact

logger = logging.getLogger(__name__)

Connection: TypeAlias = "DirectConnection | TransactionPooledConnection"

CONNECT_TIMEOUT_S = 12.0  # of the pool: longer than a connection may take, so that its error is told
COMMAND_TIMEOUT_S = 60.0
MAX_CONNECTIONS = 8
CLOSE_TIMEOUT_S = 2.0
# Between attempts to reach a database that is away: rows wait no longer than that once it is back.
FIRST_RECONNECT_S, LAST_RECONNECT_S = 0.1, 3.0

_UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a backend that is terminated at the wrong moment confuses asyncpg's protocol
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
# What such an error tells is true of every session with that server: it takes no writes any longer, or it went down.
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
_CHANGED = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.DatatypeMismatchError,
    asyncpg.InvalidCachedStatementError,
)
# A restore dropped pgvector and made it anew: our connections know its types by their old numbers.
_OLD_TYPES = ("cache lookup failed for type", "invalid input for query argument")


def reconnect_backoff() -> Backoff:
    """Delays between attempts to reach a database that is away: 0.1, 0.2 … 3 s."""
    return Backoff(FIRST_RECONNECT_S, LAST_RECONNECT_S)


@contextmanager
def translate_asyncpg_errors() -> Iterator[None]:
    """The edge to Postgres: raises DatabaseUnavailable, Contention, WatchChanged or StatementRejected."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise DatabaseUnavailable(redact(str(error)) or type(error).__name__) from error
    except _TIMED_OUT as error:
        raise TimedOut(str(error)) from error
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
    """One connection of its own, for the listener and for index builds, without a limit to its statements. The caller
    closes it.

    Raises StatementRejected where a pooler stands in between: LISTEN and session locks need a session.
    """
    with translate_asyncpg_errors():
        try:
            return await _connect_directly(url, DIRECT_SETTINGS)
        except _IsPooler as error:
            raise StatementRejected(
                f"{redact(url.get_secret_value())} leads to a connection pooler, which keeps no session",
                "08P01",
                "Set LISTEN_DATABASE_URL to a direct connection.",
            ) from error


async def _connect_directly(
    url: SecretStr, settings: Mapping[str, str], **options: Any
) -> asyncpg.Connection[asyncpg.Record]:
    """A pooler refuses our settings, or takes them and forgets them. Raises _IsPooler."""
    try:
        connection = await open_connection(url, {**settings, **TCP_SETTINGS}, **options)
    except asyncpg.ProtocolViolationError as error:
        raise _IsPooler from error
    try:
        keeps_settings = await connection.fetchval(statement("prepare_session"))
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

    Raises ConfigurationError where an address cannot be read: that would never get better.

    `listen_url`, if there is one, leads past a pooler in transaction mode; then `url` is taken for one. Without it a
    pooler is recognised by what it does with our settings.
    """

    def __init__(
        self, url: SecretStr, listen_url: SecretStr | None = None, max_connections: int = MAX_CONNECTIONS
    ) -> None:
        for each in (url, listen_url):
            if each is not None:
                read_address(each.get_secret_value())
        self.url = url
        self.direct_url = listen_url or url
        self._behind_pooler = listen_url is not None
        self._max_connections = max_connections
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._away = TroubleLog(logger, "the database cannot be used, rows wait")
        self._refusal = TroubleLog(logger, "rows wait, the database refuses what a sidecar has to do")

    def report(self, error: DatabaseError) -> None:
        """Of anybody who tried to work with it: a line in the log where it is new."""
        (self._away if isinstance(error, DatabaseUnavailable) else self._refusal).report(error)

    def report_success(self) -> None:
        """A write succeeded: it is back, if it was away."""
        self._away.over()

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
        """A connection from the pool, outside any transaction. Errors inside the block are translated too.

        One whose session turns out to be unfit is not given back: the next one is made anew, perhaps to another host.
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
        """One connection outside the pool, for a statement that runs as long as the process. The caller closes it.

        Where only a pooler leads to the server it holds one of the pooler's. Raises DatabaseError.
        """
        with translate_asyncpg_errors():
            try:
                return await _connect_directly(self.direct_url, DIRECT_SETTINGS)
            except _IsPooler:
                return await _connect_through_pooler(self.direct_url)

    async def _discard_unfit(self, connection: DirectConnection, error: BaseException) -> None:
        """All sessions, where the error tells of the server: its other sessions are no better, or will not be."""
        if isinstance(error, asyncpg.PostgresError) and str(error).startswith(_OLD_TYPES):
            await self._expire()
            raise DatabaseUnavailable(f"pgvector was made anew: {shorten(str(error), 100)}") from error
        if isinstance(error, _UNAVAILABLE):
            with suppress(asyncpg.InterfaceError):  # the pool may have noticed the loss first
                connection.terminate()
        if isinstance(error, _UNFIT_SERVER):
            await self._expire()

    async def _expire(self) -> None:
        if self._pool is not None:
            await self._pool.expire_connections()

    async def _connect(self, *_pool: Any, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
        if not self._behind_pooler:
            try:
                return await _connect_directly(self.url, SESSION_SETTINGS, **options)
            except _IsPooler:
                self._behind_pooler = True
                logger.warning(
                    "DATABASE_URL leads to a connection pooler: new rows are found by polling, and no index is built."
                    " Set LISTEN_DATABASE_URL to a direct connection."
                )
        return await _connect_through_pooler(self.url, **options)


async def _connect_through_pooler(url: SecretStr, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
    """Statements that are prepared by name would be unknown to the next server connection."""
    settings = {"application_name": SESSION_SETTINGS["application_name"]}
    return await open_connection(url, settings, statement_cache_size=0, **options)
