"""Brings results into the database, whatever stands in the way.

complete ──ok──► done
   │
   ├─ connection lost ────► again when the database is back (the vectors are still in memory)
   ├─ it takes too long ──► in halves, so that the user's rows are free in between
   ├─ the table refuses ──► one by one; the row that is refused alone becomes a failure: write_rejected, or
   │                        write_suppressed where a trigger swallowed the write
   ├─ our role may not ───► given back; the watch rests until somebody grants what is missing
   └─ row or table locked by a user's transaction ──► parked: see locked_rows.py
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from sidecar.batching.job import Lane
from sidecar.errors import DatabaseUnavailable, StatementRejected, TimedOut
from sidecar.ingest.context import Context
from sidecar.ingest.decision import READ_REJECTED
from sidecar.postgres.completion import FAILED, RowOutcome, RowResult, WriteReport, WriteSuppressed, complete
from sidecar.postgres.database import reconnect_backoff
from sidecar.postgres.events import Lease
from sidecar.postgres.statements import statement
from sidecar.postgres.watches import Watch

logger = logging.getLogger(__name__)

# The rows of one transaction. Beginning and ending one costs as much as writing 20 rows, but while it lasts the user's
# rows are locked, about 40 µs each; those of a companion table are nobody's but ours.
ROWS_PER_WRITE_IN_ROW, ROWS_PER_WRITE_IN_COMPANION = 128, 256

INSUFFICIENT_PRIVILEGE = "42501"


def rows_per_write(watch: Watch) -> int:
    """How many results are completed in one transaction, at most."""
    return ROWS_PER_WRITE_IN_COMPANION if watch.has_companion else ROWS_PER_WRITE_IN_ROW


class Writer:
    """Writes the results of one claim."""

    def __init__(self, context: Context, watch: Watch, lease: Lease, lane: Lane) -> None:
        self._context = context
        self._watch = watch
        self._lease = lease
        self._lane = lane

    async def write(self, results: Sequence[RowResult], wait_for_rows: bool = False) -> WriteReport:
        """Completes at most `rows_per_write` results. Raises WatchChanged, and Contention: somebody is in the way."""
        try:
            return await self._complete(results, wait_for_rows)
        except (StatementRejected, WriteSuppressed) as error:
            if await self._may_not_write(error):
                raise
            if len(results) == 1:
                return await self._record_refusal(results[0], error, wait_for_rows)
            parts = [[result] for result in results]
        except TimedOut as error:
            if len(results) == 1:
                raise
            logger.info("%d rows of %s in halves: %s", len(results), self._watch.label, error)
            parts = [list(results[: len(results) // 2]), list(results[len(results) // 2 :])]
        merged = WriteReport()
        for part in parts:
            one = await self.write(part, wait_for_rows)
            for name in ("written", "voided", "lease_lost", "locked", "stale", "lags_ms", "backfill_lags_ms"):
                getattr(merged, name).extend(getattr(one, name))
        return merged

    async def _complete(self, results: Sequence[RowResult], wait_for_rows: bool) -> WriteReport:
        backoff = reconnect_backoff()
        while True:
            try:
                return await self._complete_once(results, wait_for_rows)
            except DatabaseUnavailable as error:
                self._context.database.report(error)
                await asyncio.sleep(backoff.next_s())

    async def _complete_once(self, results: Sequence[RowResult], wait_for_rows: bool) -> WriteReport:
        context, watch = self._context, self._watch
        await context.guard.hold()
        if wait_for_rows:
            # It may wait for 2 s, and must hold up neither the others of its table nor all connections meanwhile.
            async with context.row_waits.place(self._lane.rank), context.database.connection() as connection:
                done = await complete(connection, watch, context.identity.fingerprint, self._lease, results, True)
        else:
            async with context.table_locks[watch.identifiers.table, self._lane]:
                with context.measured("complete"):
                    async with context.database.connection() as connection:
                        done = await complete(connection, watch, context.identity.fingerprint, self._lease, results)
        self._count(done)
        context.catalogue.mark_healthy(watch)
        return done

    def _count(self, done: WriteReport) -> None:
        telemetry, watch = self._context.telemetry, self._watch
        self._context.progress.count(watch.id, done)
        telemetry.events_done(watch.series, outcomes_of(done))
        lags_s, backfill_lags_s = ([ms / 1000 for ms in lags_ms] for lags_ms in (done.lags_ms, done.backfill_lags_ms))
        telemetry.vectors_committed(watch.series, lags_s, backfill_lags_s)

    async def _may_not_write(self, error: StatementRejected | WriteSuppressed) -> bool:
        """Whether our role lacks a right on the table, no row's fault: the watch rests until it is granted."""
        if not isinstance(error, StatementRejected) or error.sqlstate != INSUFFICIENT_PRIVILEGE:
            return False
        async with self._context.database.connection() as connection:
            return await connection.fetchval(statement("missing_right"), self._watch.id) is not None

    async def _record_refusal(
        self, result: RowResult, error: StatementRejected | WriteSuppressed, wait_for_rows: bool
    ) -> WriteReport:
        if result.keeps_vector:
            raise error
        reason = "write_suppressed" if isinstance(error, WriteSuppressed) else "write_rejected"
        code = "" if isinstance(error, WriteSuppressed) else f" (SQLSTATE {error.sqlstate})"
        logger.warning("%s refuses the vector of key %s: %s", self._watch.label, result.key, error)
        failed = replace(result, keeps_vector=True)
        if result.reason != READ_REJECTED:  # whose fault the refusal may be: a trigger that looks at the same column
            failed = replace(
                failed,
                outcome=RowOutcome.FAILED,
                content_hash=FAILED,
                packed_vector=None,
                vector_digest=None,
                reason=reason,
                message=f"{error}{code}",
            )
        return await self._complete([failed], wait_for_rows)


Outcomes: TypeAlias = Counter[tuple[str, str]]  # outcome and reason

_NAMES = {
    RowOutcome.VECTOR: "embedded",
    RowOutcome.UNCHANGED: "unchanged",
    RowOutcome.EMPTY: "empty",
    RowOutcome.MISSING: "deleted",
    RowOutcome.FAILED: "failed",
}


def outcomes_of(done: WriteReport) -> Outcomes:
    """Of the events that a completion ended. One outcome for each row; its other events in hand were `superseded`."""
    counts: Outcomes = Counter((_NAMES[r.outcome], r.reason) for r in done.written)
    counts["superseded", ""] = sum(len(r.gens) - 1 for r in done.written)
    counts["truncated", ""] = sum(len(r.gens) for r in done.voided)
    counts["lost", ""] = sum(len(r.gens) for r in done.lease_lost)
    return +counts
