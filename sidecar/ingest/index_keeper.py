"""Builds the HNSW index of a watch when its first backlog is drained.

Inserting into a live HNSW index costs 4-6 ms a row, building it afterwards 0.7-0.9 ms: so it comes last, and
CONCURRENTLY, because nobody should notice. A build that was interrupted leaves an invalid index behind, which is
dropped first.

A concurrent build waits for transactions that are older than it, and a TRUNCATE or ALTER TABLE in one of those waits
for the build: a deadlock, of which Postgres may choose the user's transaction as the victim after a second. So a
build is cancelled as soon as anybody waits for it, and tried again later.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import asyncpg

from sidecar.errors import Contention, DatabaseError, StatementRejected, WatchChanged
from sidecar.ingest.context import Context
from sidecar.ingest.undisturbed import undisturbed
from sidecar.postgres.database import connect, disconnect, translated
from sidecar.postgres.queries import statement
from sidecar.postgres.watches import Watch

logger = logging.getLogger(__name__)

YIELD_INTERVAL_S = 0.2  # well below deadlock_timeout, which is 1 s by default


@dataclass(frozen=True, slots=True)
class IndexState:
    """`name` is None where there is no HNSW index on the target."""

    name: str | None
    valid: bool | None
    statement: str | None
    can_build: bool
    building: bool
    has_vectors: bool
    has_backlog: bool

    @property
    def is_due(self) -> bool:
        """Vectors are there, the first backlog is done, and no valid index stands or is being built."""
        return self.can_build and self.has_vectors and not (self.valid or self.building or self.has_backlog)


class IndexKeeper:
    """`look_after` is called now and then for every watch."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._refused: set[int] = set()

    async def look_after_all(self) -> None:
        """Builds what is due, one after another. Raises DatabaseUnavailable."""
        for watch in self._context.catalogue.ours():
            if watch.index_kind != "none" and not watch.scans & {"clear", "backfill"} and watch.id not in self._refused:
                try:
                    await self._look_after(watch)
                except WatchChanged:
                    self._context.catalogue.stale = True
                except StatementRejected as error:
                    self._refused.add(watch.id)
                    logger.warning("cannot build the index of %s: %s. %s", watch.label, error, error.hint or "")

    async def _look_after(self, watch: Watch) -> None:
        async with self._context.database.connection() as connection:
            record = await connection.fetchrow(watch.sql("index_state"), watch.id)
        state = None if record is None else IndexState(**dict(record.items()))
        if state is not None and state.is_due and state.statement is not None:
            await self._build(watch, state, state.statement)

    async def _build(self, watch: Watch, state: IndexState, create: str) -> None:
        connection = await connect(self._context.database.url)
        yielding = asyncio.create_task(self._yield_to_users(connection.get_server_pid()), name=f"yield-{watch.id}")
        try:
            with translated():
                await self._build_on(connection, watch, state, create)
        except Contention as error:
            logger.info("the index of %s gave way to somebody who waited for its table: %s", watch.label, error)
        except StatementRejected as error:
            raise StatementRejected(
                error.message, error.sqlstate, f"Let the owner of the table run: {create};"
            ) from error
        finally:
            yielding.cancel()
            await asyncio.gather(yielding, return_exceptions=True)
            await undisturbed(disconnect(connection), f"disconnect-{watch.id}")

    async def _yield_to_users(self, build_pid: int) -> None:
        while True:
            await asyncio.sleep(YIELD_INTERVAL_S)
            try:
                async with self._context.database.connection() as connection:
                    if await connection.fetchval(statement("waits_for_build"), build_pid):
                        await connection.execute(statement("cancel_build"), build_pid)
            except DatabaseError as error:
                logger.warning("could not see whether anybody waits for an index build: %s", error)

    async def _build_on(
        self, connection: asyncpg.Connection[asyncpg.Record], watch: Watch, state: IndexState, create: str
    ) -> None:
        if not await connection.fetchval(statement("try_index_lock"), watch.id):
            return
        await connection.execute("set lock_timeout = 0")
        if state.name is not None:
            logger.warning("dropping %s, which an interrupted build left invalid", state.name)
            await connection.execute(f"drop index concurrently if exists {state.name}")
        logger.info("building the index of %s: %s", watch.label, create)
        await connection.execute(create)
        logger.info("the index of %s is ready", watch.label)
