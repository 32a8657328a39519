"""Builds the index of a watch once its first backlog is done, and drops indexes that are no longer wanted.

An insert into an existing HNSW index costs 4-6 ms per row, a later build 0.7-0.9 ms: so the build comes last. It runs
CONCURRENTLY, so that it blocks no user. A build that was interrupted leaves an invalid index, which is dropped first.
The database lists the steps (`sidecar_internal.index_steps`): one for an ordinary table, several for a tree of
partitions, where each leaf gets an index of its own and the parents only attach them.

A concurrent build waits for transactions older than itself, and a TRUNCATE or ALTER TABLE in one of those waits for the
build: a deadlock, of which Postgres may choose the user's transaction as the victim after a second. So a build is
cancelled as soon as any session waits for it, and retried later.

A failure is recorded in `sidecar_internal.index_failures`, which `sidecar.status` shows, and retried after a delay that
doubles up to an hour, since a failing attempt may take as long as a successful one. If shared memory or disk is too
small, the build is repeated at once without parallel workers, whose graph is in shared memory.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

import asyncpg

from sidecar.concurrency import background, run_to_completion
from sidecar.errors import Contention, DatabaseError, DatabaseUnavailable, StatementRejected, WatchChanged
from sidecar.ingest.context import Context
from sidecar.ingest.giving_way import cancel_if_blocking
from sidecar.postgres.database import Connection, close_session, open_session, translate_asyncpg_errors
from sidecar.postgres.statements import statement
from sidecar.postgres.watches import Watch
from sidecar.postgres.watches_with_work import find_unindexed

logger = logging.getLogger(__name__)

LOCK_TIMEOUT_MS = (
    500  # of steps that lock a table; concurrent ones wait for older transactions, however long that takes
)
FIRST_RETRY_S, LAST_RETRY_S = 30.0, 3600.0
# After a build that was cancelled because it blocked a session, which as a rule is soon done.
FIRST_RETRY_AFTER_YIELD_S, LAST_RETRY_AFTER_YIELD_S = 2.0, 300.0
_OUT_OF_MEMORY = "53200"
# The name of a segment, which the message contains in every language.
_SHARED_MEMORY = re.compile(r"shared memory|PostgreSQL\.\d|pg_dynshmem")


@dataclass(frozen=True, slots=True)
class IndexState:
    """`steps` are the statements that remain until the watch has its valid index and no other. Only `owner` may run
    them.

    `wanted_since` tells whether the watch was changed after this. `retry_pending`: an attempt has failed, and the next
    one is not due yet.
    """

    steps: list[str]
    wanted_since: datetime
    owner: str
    is_owner: bool
    may_become_owner: bool
    building: bool
    has_vectors: bool
    has_backlog: bool
    retry_pending: bool

    def is_due(self, *, is_backfilling: bool) -> bool:
        """Whether steps remain and should run now. A build waits for vectors, and for the end of the backlog."""
        if not self.steps or self.building or self.retry_pending:
            return False
        return self.only_drops or (self.has_vectors and not self.has_backlog and not is_backfilling)

    @property
    def only_drops(self) -> bool:
        """Whether only former indexes remain to be dropped."""
        return all(step.startswith("drop index ") for step in self.steps)

    @property
    def script(self) -> str:
        """The steps as one text, for the owner to run."""
        return "; ".join(self.steps) + ";"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed. It is retried after `first_s`, doubled with each further failure up to `last_s`."""

    reason: str
    gave_way: bool  # cancelled because it blocked a session

    @classmethod
    def from_error(cls, error: DatabaseError) -> Failure:
        if isinstance(error, Contention):
            return cls(f"it gave way to a session that was waiting for the table: {error}", gave_way=True)
        hint = error.hint if isinstance(error, StatementRejected) else None
        return cls(f"{error}. {hint}" if hint else str(error), gave_way=False)

    @property
    def first_s(self) -> float:
        return FIRST_RETRY_AFTER_YIELD_S if self.gave_way else FIRST_RETRY_S

    @property
    def last_s(self) -> float:
        return LAST_RETRY_AFTER_YIELD_S if self.gave_way else LAST_RETRY_S


class IndexKeeper:
    """Builds and drops indexes, one after another."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._owner_asked: set[int] = set()  # watches whose steps only their owner may run, as the log says
        # Failures that could not be recorded in the database, by watch. They are recorded before anything is retried.
        self._unrecorded: dict[int, Failure] = {}

    async def maintain_all(self) -> bool:
        """Builds and drops all indexes that are due. A failure of one leaves the others alone.

        Returns False if nothing is left to do, now or later. Raises DatabaseUnavailable.
        """
        watches = [w for w in self._context.catalogue.writable() if w.index_kind == "none" or not _is_backfilling(w)]
        async with self._context.database.connection() as connection:
            unindexed = await find_unindexed(connection, [w.id for w in watches])
        for watch in watches:
            try:
                if watch.id in self._unrecorded:
                    await self._record_failure(watch, self._unrecorded[watch.id])
                elif watch.id in unindexed:
                    await self._maintain(watch)
            except WatchChanged:
                self._context.catalogue.stale = True
            except (Contention, StatementRejected) as error:
                await self._postpone(watch, error)
        return bool(unindexed or self._unrecorded)

    async def _maintain(self, watch: Watch) -> None:
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
        except DatabaseUnavailable as error:  # the build may have crashed the server
            await self._postpone(watch, error)
        finally:
            await run_to_completion(close_session(own), f"disconnect-{watch.id}")

    def _ask_owner(self, watch: Watch, state: IndexState) -> None:
        """Logs once that the owner must run the steps. Later a grant, or the owner's own build, is noticed."""
        if watch.id not in self._owner_asked:
            self._owner_asked.add(watch.id)
            logger.warning(
                "only its owner can build the index of %s. Let %s run: %s", watch.quoted_name, state.owner, state.script
            )

    async def _postpone(self, watch: Watch, error: DatabaseError) -> None:
        """Records the failure, so that no sidecar tries the index again for a while."""
        failure = Failure.from_error(error)
        self._context.telemetry.index_build_ended("gave_way" if failure.gave_way else "failed")
        level = logging.INFO if failure.gave_way else logging.WARNING
        logger.log(level, "the index of %s has to wait: %s", watch.quoted_name, failure.reason)
        try:
            await self._record_failure(watch, failure)
        except DatabaseError as unrecorded:
            logger.warning("could not record that the index of %s has to wait: %s", watch.quoted_name, unrecorded)
            self._unrecorded[watch.id] = failure

    async def _record_failure(self, watch: Watch, failure: Failure) -> None:
        arguments = (watch.id, failure.reason, failure.first_s, failure.last_s)
        async with self._context.database.connection() as connection:
            next_s = await connection.fetchval(statement("record_index_failure"), *arguments)
        self._unrecorded.pop(watch.id, None)
        if next_s is not None:
            logger.info("the index of %s is tried again in %.0f s", watch.quoted_name, next_s)

    async def _build(self, connection: asyncpg.Connection[asyncpg.Record], watch: Watch) -> None:
        async with background(
            cancel_if_blocking(self._context, connection.get_server_pid(), "an index build"), f"yield-{watch.id}"
        ):
            try:
                with translate_asyncpg_errors():
                    if await connection.fetchval(statement("try_index_lock"), watch.id):
                        await self._build_parallel_or_serially(connection, watch)
            except (StatementRejected, DatabaseUnavailable):
                await _drop_leftovers(connection, watch)
                raise

    async def _build_parallel_or_serially(self, connection: asyncpg.Connection[asyncpg.Record], watch: Watch) -> None:
        try:
            await self._run_steps(connection, watch)
        except asyncpg.InsufficientResourcesError as error:
            if error.sqlstate != _OUT_OF_MEMORY and not _SHARED_MEMORY.search(str(error)):
                raise  # the disk is full, for instance
            logger.warning("building the index of %s again, without parallel workers: %s", watch.quoted_name, error)
            await connection.execute(statement("disable_parallel_build"))
            await self._run_steps(connection, watch)

    async def _run_steps(self, connection: asyncpg.Connection[asyncpg.Record], watch: Watch) -> None:
        await connection.execute(statement("set_role"), "none")  # the owner may not read our tables
        # Read again: another sidecar may just have finished its build.
        state = await _state_of(connection, watch, self._context.horizon.floor(watch.id))
        if state is None or not state.is_due(is_backfilling=_is_backfilling(watch)):
            return
        if not state.is_owner:
            await connection.execute(statement("set_role"), state.owner)
        for step in state.steps:
            if not await self._is_still_wanted(watch, state):
                return
            logger.info("for the index of %s: %s", watch.quoted_name, step)
            await _run_step(connection, step)
        await self._delete_failure(watch)
        if not state.only_drops:
            self._context.telemetry.index_build_ended("built")
            logger.info("the index of %s is ready", watch.quoted_name)

    async def _is_still_wanted(self, watch: Watch, state: IndexState) -> bool:
        """False if the watch was changed meanwhile: the next step might drop the very index that it asks for now."""
        async with self._context.database.connection() as connection:
            return bool(await connection.fetchval(statement("is_still_wanted"), watch.id, state.wanted_since))

    async def _delete_failure(self, watch: Watch) -> None:
        async with self._context.database.connection() as connection:
            await connection.execute(statement("delete_index_failure"), watch.id)


async def _run_step(connection: asyncpg.Connection[asyncpg.Record], step: str) -> None:
    is_concurrent = step.split(maxsplit=3)[2] == "concurrently"
    await connection.execute(statement("set_lock_timeout"), "0" if is_concurrent else f"{LOCK_TIMEOUT_MS}ms")
    await connection.execute(step)


async def _drop_leftovers(connection: asyncpg.Connection[asyncpg.Record], watch: Watch) -> None:
    """Drops an invalid index, which takes disk space and slows every write until the next attempt would drop it."""
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
                await _run_step(connection, step)
    except DatabaseError as error:
        logger.info("what the build of the index of %s left is dropped later: %s", watch.quoted_name, error)


async def _state_of(connection: Connection, watch: Watch, above_gen: int) -> IndexState | None:
    """What remains to be done for the index of a watch; None if the watch is gone."""
    record = await connection.fetchrow(watch.sql("index_state"), watch.id, above_gen)
    return None if record is None else IndexState(**dict(record.items()))


def _is_backfilling(watch: Watch) -> bool:
    return bool(watch.scans & {"clear", "backfill"})
