"""Builds the HNSW index of a watch when its first backlog is drained, and drops those it has no use for any longer.

Inserting into a live HNSW index costs 4-6 ms a row, building it afterwards 0.7-0.9 ms: so it comes last, and
CONCURRENTLY, because nobody should notice. A build that was interrupted leaves an invalid index behind, which is
dropped first. The steps are the database's (`sidecar_internal.index_steps`): one for an ordinary table, several for a
tree of
partitions, where each leaf gets its index and the trunk only takes them together.

A concurrent build waits for transactions that are older than it, and a TRUNCATE or ALTER TABLE in one of those waits
for the build: a deadlock, of which Postgres may choose the user's transaction as the victim after a second. So a
build is cancelled as soon as anybody waits for it, and tried again later.

What fails is recorded in `sidecar_internal.index_failures`, which `sidecar.status` shows, and tried again after a
    while that
doubles up to an hour: an attempt may take as long as a success. Where shared memory or disk is too small, it is tried
again at once without parallel workers, whose graph stands in shared memory.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from itertools import takewhile

import asyncpg

from sidecar.concurrency import background, run_to_completion
from sidecar.errors import Contention, DatabaseError, DatabaseUnavailable, StatementRejected, WatchChanged
from sidecar.ingest.context import Context
from sidecar.postgres.database import Connection, close_session, open_session, translate_asyncpg_errors
from sidecar.postgres.statements import statement
from sidecar.postgres.watches import Watch
from sidecar.postgres.work import find_unindexed

logger = logging.getLogger(__name__)

YIELD_INTERVAL_S = 0.2  # well below deadlock_timeout, which is 1 s by default
LOCK_TIMEOUT_MS = 500  # of the steps that lock a table; concurrent ones wait for older transactions, however long
FIRST_RETRY_S, LAST_RETRY_S = 30.0, 3600.0
# Whoever was given way to is soon done, as a rule.
FIRST_RETURN_S, LAST_RETURN_S = 2.0, 300.0
_OUT_OF_MEMORY = "53200"
# The name of a segment, which messages in every language have in them.
_SHARED_MEMORY = re.compile(r"shared memory|PostgreSQL\.\d|pg_dynshmem")


@dataclass(frozen=True, slots=True)
class IndexState:
    """`steps` are the statements that are left to run for a valid index and no other, by `owner` alone.

    `rests`: an attempt has failed, and the next one is not due yet.
    """

    steps: list[str]
    owner: str
    is_owner: bool
    may_become_owner: bool
    building: bool
    has_vectors: bool
    has_backlog: bool
    rests: bool

    def is_due(self, *, is_backfilling: bool) -> bool:
        """Something is left to do and nobody is at it. A build waits for vectors, and for the end of the backlog."""
        if not self.steps or self.building or self.rests:
            return False
        return self.only_drops or (self.has_vectors and not self.has_backlog and not is_backfilling)

    @property
    def only_drops(self) -> bool:
        """The index that is wanted stands, or none is wanted; a former one has to go."""
        return all(step.startswith("drop index ") for step in self.steps)

    @property
    def script(self) -> str:
        return "; ".join(self.steps) + ";"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt ended. The next one comes after `first_s`, doubled with each failure up to `last_s`."""

    why: str
    gave_way: bool

    @classmethod
    def of(cls, error: DatabaseError) -> Failure:
        if isinstance(error, Contention):
            return cls(f"it gave way to somebody who waited for the table: {error}", gave_way=True)
        hint = error.hint if isinstance(error, StatementRejected) else None
        return cls(f"{error}. {hint}" if hint else str(error), gave_way=False)

    @property
    def first_s(self) -> float:
        return FIRST_RETURN_S if self.gave_way else FIRST_RETRY_S

    @property
    def last_s(self) -> float:
        return LAST_RETURN_S if self.gave_way else LAST_RETRY_S


class IndexKeeper:
    """`look_after_all` is called now and then."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._not_owned: set[int] = set()  # watches whose owner was asked to run the steps
        self._unrecorded: dict[
            int, Failure
        ] = {}  # watch -> what the database could not be told; nothing is tried before

    async def look_after_all(self) -> bool:
        """Builds and drops what is due, one after another. One that fails holds up no other.

        False: nothing is left to do. Raises DatabaseUnavailable.
        """
        watches = [w for w in self._context.catalogue.ours() if w.index_kind == "none" or not _is_backfilling(w)]
        async with self._context.database.connection() as connection:
            unindexed = await find_unindexed(connection, [w.id for w in watches])
        for watch in watches:
            try:
                if watch.id in self._unrecorded:
                    await self._record(watch, self._unrecorded[watch.id])
                elif watch.id in unindexed:
                    await self._look_after(watch)
            except WatchChanged:
                self._context.catalogue.stale = True
            except (Contention, StatementRejected) as error:
                await self._rest(watch, error)
        return bool(unindexed or self._unrecorded)

    async def _look_after(self, watch: Watch) -> None:
        async with self._context.database.connection() as connection:
            state = await _state_of(connection, watch, self._context.horizon.floor(watch.id))
        if state is None or not state.is_due(is_backfilling=_is_backfilling(watch)):
            return
        if not (state.is_owner or state.may_become_owner):
            self._ask_owner(watch, state)
            return
        own = await open_session(self._context.database.direct_url)
        try:
            await self._build(own, watch)
        except DatabaseUnavailable as error:  # the server itself may have died of it
            await self._rest(watch, error)
        finally:
            await run_to_completion(close_session(own), f"disconnect-{watch.id}")

    def _ask_owner(self, watch: Watch, state: IndexState) -> None:
        """Once; a grant or the owner's own build is noticed."""
        if watch.id not in self._not_owned:
            self._not_owned.add(watch.id)
            logger.warning(
                "the index of %s is the owner's to build. Let %s run: %s", watch.label, state.owner, state.script
            )

    async def _rest(self, watch: Watch, error: DatabaseError) -> None:
        """The watch is left alone for a while, by all sidecars."""
        failure = Failure.of(error)
        self._context.telemetry.index_build_ended("gave_way" if failure.gave_way else "failed")
        level = logging.INFO if failure.gave_way else logging.WARNING
        logger.log(level, "the index of %s has to wait: %s", watch.label, failure.why)
        try:
            await self._record(watch, failure)
        except DatabaseError as unrecorded:
            logger.warning("could not record that the index of %s has to wait: %s", watch.label, unrecorded)
            self._unrecorded[watch.id] = failure

    async def _record(self, watch: Watch, failure: Failure) -> None:
        arguments = (watch.id, failure.why, failure.first_s, failure.last_s)
        async with self._context.database.connection() as connection:
            next_s = await connection.fetchval(statement("record_index_failure"), *arguments)
        self._unrecorded.pop(watch.id, None)
        if next_s is not None:
            logger.info("the index of %s is tried again in %.0f s", watch.label, next_s)

    async def _build(self, connection: asyncpg.Connection[asyncpg.Record], watch: Watch) -> None:
        async with background(self._yield_to_users(connection.get_server_pid()), f"yield-{watch.id}"):
            try:
                with translate_asyncpg_errors():
                    if await connection.fetchval(statement("try_index_lock"), watch.id):
                        await self._build_parallel_or_serially(connection, watch)
            except (StatementRejected, DatabaseUnavailable):
                await _drop_leftovers(connection, watch)
                raise

    async def _build_parallel_or_serially(self, connection: asyncpg.Connection[asyncpg.Record], watch: Watch) -> None:
        try:
            await self._take_steps(connection, watch)
        except asyncpg.InsufficientResourcesError as error:
            if error.sqlstate != _OUT_OF_MEMORY and not _SHARED_MEMORY.search(str(error)):
                raise  # the disk is full, for instance
            logger.warning("building the index of %s again, without parallel workers: %s", watch.label, error)
            await connection.execute(statement("disable_parallel_build"))
            await self._take_steps(connection, watch)

    async def _yield_to_users(self, build_pid: int) -> None:
        could_look = True
        while True:
            await asyncio.sleep(YIELD_INTERVAL_S)
            try:
                await self._context.guard.hold()
                async with self._context.database.connection() as connection:
                    if await connection.fetchval(statement("is_build_blocking"), build_pid):
                        await connection.execute(statement("cancel_build"), build_pid)
                could_look = True
            except DatabaseError as error:
                if could_look:
                    logger.warning("could not see whether anybody waits for an index build: %s", error)
                could_look = False

    async def _take_steps(self, connection: asyncpg.Connection[asyncpg.Record], watch: Watch) -> None:
        await connection.execute(statement("set_role"), "none")  # the owner may not read our tables
        # Another sidecar may just have ended its build.
        state = await _state_of(connection, watch, self._context.horizon.floor(watch.id))
        if state is None or not state.is_due(is_backfilling=_is_backfilling(watch)):
            return
        if not state.is_owner:
            await connection.execute(statement("set_role"), state.owner)
        for step in state.steps:
            logger.info("for the index of %s: %s", watch.label, step)
            await _take_step(connection, step)
        await self._forget_failure(watch)
        if not state.only_drops:
            self._context.telemetry.index_build_ended("built")
            logger.info("the index of %s is ready", watch.label)

    async def _forget_failure(self, watch: Watch) -> None:
        async with self._context.database.connection() as connection:
            await connection.execute(statement("delete_index_failure"), watch.id)


async def _take_step(connection: asyncpg.Connection[asyncpg.Record], step: str) -> None:
    is_concurrent = step.split(maxsplit=3)[2] == "concurrently"
    await connection.execute(statement("set_lock_timeout"), "0" if is_concurrent else f"{LOCK_TIMEOUT_MS}ms")
    await connection.execute(step)


async def _drop_leftovers(connection: asyncpg.Connection[asyncpg.Record], watch: Watch) -> None:
    """An invalid index takes disk, and every write maintains it, until the next attempt drops it."""
    if connection.is_closed():
        return
    try:
        with translate_asyncpg_errors():
            await connection.execute(statement("set_role"), "none")
            state = await _state_of(connection, watch, above_gen=0)
            if state is None:
                return
            await connection.execute(statement("set_role"), state.owner)
            for step in takewhile(lambda step: step.startswith("drop index concurrently "), state.steps):
                await _take_step(connection, step)
    except DatabaseError as error:
        logger.info("what the build of the index of %s left is dropped later: %s", watch.label, error)


async def _state_of(connection: Connection, watch: Watch, above_gen: int) -> IndexState | None:
    """None: the watch is gone."""
    record = await connection.fetchrow(watch.sql("index_state"), watch.id, above_gen)
    return None if record is None else IndexState(**dict(record.items()))


def _is_backfilling(watch: Watch) -> bool:
    return bool(watch.scans & {"clear", "backfill"})
