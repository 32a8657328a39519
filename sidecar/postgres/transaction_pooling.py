"""A connection through a pooler in transaction mode, such as PgBouncer.

The pooler assigns a server connection for one transaction, and perhaps another for the next: session settings are lost,
or worse, passed on to another client. So each statement runs in a transaction, one of its own unless one was begun, and
the settings that our statements rely on are set in each (`set local`).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias, TypeVar

import asyncpg

from sidecar.postgres.session_settings import set_settings

Answer = TypeVar("Answer")
# A string, because asyncpg's classes take parameters for the type checker only.
DirectConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

_BEGINS = re.compile(r"^begin\b;?", re.MULTILINE)  # a comment may stand before it
_ISOLATION = "default_transaction_isolation"


class TransactionPooledConnection:
    """The part of asyncpg's connection that our statements need. A statement takes three round trips instead of one."""

    def __init__(self, connection: DirectConnection, settings: Mapping[str, str]) -> None:
        self._connection = connection
        isolation = f"set transaction isolation level {settings[_ISOLATION]}"
        self._settings = f"{isolation}; {set_settings(settings, local=True)}"

    async def execute(self, query: str, *arguments: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's
        if _BEGINS.search(query):
            # Before the settings of the statement itself, which are meant to override these.
            return await self._connection.execute(_BEGINS.sub(f"begin; {self._settings};", query, count=1))
        return await self._in_transaction(lambda: self._connection.execute(query, *arguments, timeout=timeout))

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        return await self._in_transaction(lambda: self._connection.fetch(query, *arguments))

    async def fetchrow(self, query: str, *arguments: Any) -> asyncpg.Record | None:
        return await self._in_transaction(lambda: self._connection.fetchrow(query, *arguments))

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        return await self._in_transaction(lambda: self._connection.fetchval(query, *arguments))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """A transaction, committed at the end of the block and rolled back if the block raises."""
        async with self._connection.transaction():
            await self._connection.execute(self._settings)
            yield

    def is_in_transaction(self) -> bool:
        return self._connection.is_in_transaction()

    async def _in_transaction(self, run: Callable[[], Awaitable[Answer]]) -> Answer:
        if self._connection.is_in_transaction():
            return await run()
        try:
            await self._connection.execute(f"begin; {self._settings}")
            answer = await run()
            await self._connection.execute("commit")
        except BaseException:
            # If this fails, the connection is lost and the transaction with it: the first error is the one to raise.
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await self._connection.execute("rollback")
            raise
        return answer
