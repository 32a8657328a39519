"""Measures from time to time how much of an exact search each index finds: RECALL_INTERVAL_S.

An exact search reads the whole table. So little is measured (MAX_QUERIES, or MAX_S), for one watch at a time, by one
sidecar of a database, while no rows are being backfilled; and it ends as soon as a user's session waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import time

import asyncpg

from sidecar.concurrency import background, run_to_completion
from sidecar.errors import Contention, DatabaseError, StatementRejected, TimedOut, WatchChanged
from sidecar.ingest.context import Context
from sidecar.ingest.giving_way import cancel_if_blocking
from sidecar.postgres.database import close_session, open_session, translate_asyncpg_errors
from sidecar.postgres.statements import statement
from sidecar.postgres.watches import Watch

logger = logging.getLogger(__name__)

ROUND_S = 60.0  # between searches for an index to measure
MAX_QUERIES, MAX_S = 50, 30.0
# For all queries of a watch, of which the last may begin shortly before MAX_S.
TIMEOUT_S = 90.0


class RecallKeeper:
    """Measures one index in each round, if one is due."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._interval_s = context.settings.recall_interval_s
        self._put_off: dict[int, float] = {}  # by watch, after a failure: until when, on the clock of time.monotonic

    async def run(self) -> None:
        """Measures until cancelled."""
        while True:
            try:
                await self.measure_one()
            except DatabaseError as error:
                self._context.database.report(error)
            await asyncio.sleep(min(ROUND_S, self._interval_s))

    async def measure_one(self) -> None:
        """Measures the index that is due, if there is one and nothing else is going on. Raises DatabaseError."""
        watch = await self._find_due()
        if watch is None:
            return
        own = await open_session(self._context.database.direct_url)
        try:
            with translate_asyncpg_errors():
                if await own.fetchval(statement("try_recall_lock")) and await self._find_due() == watch:
                    await self._measure(own, watch)
        except WatchChanged:
            self._context.catalogue.stale = True
        except (Contention, StatementRejected) as error:
            self._put_off[watch.id] = time.monotonic() + self._interval_s
            why = f"it takes longer than {TIMEOUT_S:g} s" if isinstance(error, TimedOut) else str(error)
            logger.warning(
                "the recall of the index of %s could not be measured: %s. The next try is in %g s (RECALL_INTERVAL_S)",
                *(watch.quoted_name, why, self._interval_s),
            )
        finally:
            await run_to_completion(close_session(own), f"disconnect-recall-{watch.id}")

    async def _find_due(self) -> Watch | None:
        now = time.monotonic()
        watches = {w.id: w for w in self._context.catalogue.writable() if self._put_off.get(w.id, 0) <= now}
        async with self._context.database.connection() as connection:
            found = await connection.fetchval(statement("find_unmeasured"), list(watches), self._interval_s)
            if found is None:
                return None
            for watch in watches.values():
                floor = self._context.horizon.floor(watch.id)
                if await connection.fetchval(watch.sql("has_backfill_events"), floor):
                    return None
        return watches[found]

    async def _measure(self, own: asyncpg.Connection[asyncpg.Record], watch: Watch) -> None:
        name = f"the measurement of {watch.quoted_name}"
        yielding = cancel_if_blocking(self._context, own.get_server_pid(), name)
        async with background(yielding, f"yield-recall-{watch.id}"):
            await own.execute(statement("limit_recall"), f"{TIMEOUT_S:g}s")
            lines = await own.fetch(statement("measure_recall"), watch.id, MAX_QUERIES, MAX_S)
        found = ", ".join(
            f"{line['recall']:.3f}" + (f" with {line['setting']} = {line['ef']}" if line["setting"] else "")
            for line in lines
            if line["queries"]
        )
        logger.info("recall of the index of %s: %s", watch.quoted_name, found or "no vectors to ask with")
