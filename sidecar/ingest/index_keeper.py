"""Builds the HNSW index of a watch when its first backlog is drained.

Inserting into a live HNSW index costs 4-6 ms a row, building it afterwards 0.7-0.9 ms: so it comes last, and
CONCURRENTLY, because nobody should notice. A build that was interrupted leaves an invalid index behind, which is
dropped first. The steps are the database's (`sidecar.index_steps`): one for an ordinary table, several for a tree of
partitions, where each leaf gets its index and the trunk only takes them together.

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
from sidecar.postgres.database import Connection, connect, disconnect, translated
from sidecar.postgres.queries import statement
from sidecar.postgres.watches import Watch
from sidecar.postgres.work import find_unindexed

logger = logging.getLogger(__name__)

YIELD_INTERVAL_S = 0.2  # well below deadlock_timeout, which is 1 s by default
LOCK_TIMEOUT_MS = 500  # of the steps that lock a table; concurrent ones wait for older transactions, however long


@dataclass(frozen=True, slots=True)
class IndexState:
    """`steps` are the statements that are left to run for a valid index, by `owner` alone."""

    steps: list[str]
    owner: str
    is_owner: bool
    may_become_owner: bool
    building: bool
    has_vectors: bool
    has_backlog: bool

    @property
    def is_due(self) -> bool:
        """Vectors are there, the first backlog is done, and no valid index stands or is being built."""
        return bool(self.steps) and self.has_vectors and not (self.building or self.has_backlog)

    @property
    def script(self) -> str:
        return "; ".join(self.steps) + ";"


class IndexKeeper:
    """`look_after_all` is called now and then."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._refused: dict[int, list[str]] = {}  # watch → steps that Postgres refused; others are tried
        self._not_owned: set[int] = set()  # watches whose owner was asked to run the steps

    async def look_after_all(self) -> None:
        """Builds what is due, one after another. Raises DatabaseUnavailable."""
        watches = [w for w in self._context.catalogue.ours() if not w.scans & {"clear", "backfill"}]
        async with self._context.database.connection() as connection:
            unindexed = await find_unindexed(connection, [w.id for w in watches if w.index_kind != "none"])
        for watch in watches:
            if watch.id in unindexed:
                try:
                    await self._look_after(watch)
                except WatchChanged:
                    self._context.catalogue.stale = True
                except (Contention, StatementRejected) as error:
                    logger.info("the index of %s is looked at again later: %s", watch.label, error)

    async def _look_after(self, watch: Watch) -> None:
        async with self._context.database.connection() as connection:
            state = await _state_of(connection, watch, self._context.horizon.floor(watch.id))
        if state is None or not state.is_due or state.steps == self._refused.get(watch.id):
            return
        if not (state.is_owner or state.may_become_owner):
            self._ask_owner(watch, state)
            return
        try:
            await self._build(watch)
        except StatementRejected as error:
            self._context.telemetry.index_build_ended("refused")
            self._refused[watch.id] = state.steps
            hint = error.hint or f"Let {state.owner} run: {state.script}"
            logger.warning("cannot build the index of %s: %s. %s", watch.label, error, hint)

    def _ask_owner(self, watch: Watch, state: IndexState) -> None:
        """Once; a grant or the owner's own build is noticed."""
        if watch.id not in self._not_owned:
            self._not_owned.add(watch.id)
            logger.warning(
                "the index of %s is the owner's to build. Let %s run: %s", watch.label, state.owner, state.script
            )

    async def _build(self, watch: Watch) -> None:
        connection = await connect(self._context.database.direct_url)
        yielding = asyncio.create_task(self._yield_to_users(connection.get_server_pid()), name=f"yield-{watch.id}")
        try:
            with translated():
                await self._build_on(connection, watch)
        except Contention as error:
            self._context.telemetry.index_build_ended("gave_way")
            logger.info("the index of %s gave way to somebody who waited for its table: %s", watch.label, error)
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

    async def _build_on(self, connection: asyncpg.Connection[asyncpg.Record], watch: Watch) -> None:
        if not await connection.fetchval(statement("try_index_lock"), watch.id):
            return
        state = await _state_of(
            connection, watch, self._context.horizon.floor(watch.id)
        )  # another sidecar may just have ended its build
        if state is None or not state.is_due:
            return
        if not state.is_owner:
            await connection.execute(statement("become"), state.owner)
        for step in state.steps:
            logger.info("building the index of %s: %s", watch.label, step)
            is_concurrent = step.split(maxsplit=3)[2] == "concurrently"
            await connection.execute(statement("set_lock_timeout"), "0" if is_concurrent else f"{LOCK_TIMEOUT_MS}ms")
            await connection.execute(step)
        self._context.telemetry.index_build_ended("built")
        logger.info("the index of %s is ready", watch.label)


async def _state_of(connection: Connection, watch: Watch, above_gen: int) -> IndexState | None:
    """None: the watch is gone."""
    record = await connection.fetchrow(watch.sql("index_state"), watch.id, above_gen)
    return None if record is None else IndexState(**dict(record.items()))
