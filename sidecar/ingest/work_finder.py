"""Which watches are worth a claim: found by one statement for all, so that idle ones cost next to nothing.

Measured with 300 watches: one look takes 6 ms of the server's time; claiming from each of them took 2,005 transactions
a second while nothing happened.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from sidecar.ingest.horizon import Horizon
from sidecar.postgres.database import Database
from sidecar.postgres.watches import Watch
from sidecar.postgres.work import find_work

LOOK_SHARE = 0.2  # of the time, at most, while watches that are known to have work keep the worker busy


class WorkFinder:
    """Remembers which watches had more events than were claimed; looks at all of them otherwise.

    `due` are the watches whose delayed events are to be brought back, by the scanner.
    """

    def __init__(self, database: Database, horizon: Horizon) -> None:
        self._database = database
        self._horizon = horizon
        self._busy: set[int] = set()  # the last claim left events waiting
        self._next_look = float("-inf")  # on the clock of time.monotonic
        self.due: set[int] = set()

    async def worth_a_claim(self, watches: Sequence[Watch], was_notified: bool) -> list[Watch]:
        """Those of `watches` that have events to claim, in the same order. Raises DatabaseError."""
        if watches and (was_notified or not self._busy or time.monotonic() >= self._next_look):
            await self._look(watches)
        return [watch for watch in watches if watch.id in self._busy]

    async def _look(self, watches: Sequence[Watch]) -> None:
        began = time.monotonic()
        async with self._database.connection() as connection, AsyncExitStack() as stack:
            if self._horizon.is_due():  # one transaction, each of whose statements has a snapshot of its own
                await stack.enter_async_context(connection.transaction())
            await self._horizon.refresh(connection, [watch.id for watch in watches])
            floors = {watch.id: self._horizon.floor(watch.id) for watch in watches}
            work = await find_work(connection, floors, self._horizon.late())
        now = time.monotonic()
        self._next_look = now + (now - began) * (1 / LOOK_SHARE - 1)
        self._busy = set(work.waiting)
        self.due |= work.due

    def record_claim(self, watch: Watch, *, may_be_more: bool) -> None:
        """After a claim: the watch is left alone until the next look unless there may be more."""
        if not may_be_more:
            self._busy.discard(watch.id)
