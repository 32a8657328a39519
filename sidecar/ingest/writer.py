"""Writes the results of a claim, retrying around lost connections, rejected rows and locks.

complete ──ok──► done
   │
   ├─ connection lost ───────► retried when the database is back (the vectors are still in memory)
   ├─ timed out ─────────────► in halves, so that the user's rows are unlocked in between
   ├─ rejected by the table ─► one by one; a row that is rejected alone becomes a failure: write_rejected, or
   │                           write_suppressed where a trigger swallowed the write
   ├─ privilege missing ─────► the events are released; the watch waits until the privilege is granted
   └─ row or table locked by a user's transaction ──► retried in the background: see locked_rows.py
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

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

# Rows of one transaction. Starting and committing it costs as much as writing 20 rows, but while it lasts the user's
# rows are locked, about 40 µs each. Rows of a companion table are written by sidecars only.
ROWS_PER_WRITE_IN_ROW, ROWS_PER_WRITE_IN_COMPANION = 128, 256

INSUFFICIENT_PRIVILEGE = "42501"


def rows_per_write(watch: Watch) -> int:
    """The most results that one transaction writes."""
    return ROWS_PER_WRITE_IN_COMPANION if watch.has_companion else ROWS_PER_WRITE_IN_ROW


class Writer:
    """Writes the results of one claim."""

    def __init__(self, context: Context, watch: Watch, lease: Lease, lane: Lane) -> None:
        self._context = context
        self._watch = watch
        self._lease = lease
        self._lane = lane

    async def write(self, results: Sequence[RowResult], wait_for_rows: bool = False) -> WriteReport:
        """Writes at most `rows_per_write` results.

        Raises WatchChanged; Contention where a table is locked; StatementRejected where our role lacks a privilege.
        """
        try:
            return await self._complete_across_outages(results, wait_for_rows)
        except (StatementRejected, WriteSuppressed) as error:
            if await self._lacks_privilege(error):
                raise
            if len(results) == 1:
                return await self._record_rejection(results[0], error, wait_for_rows)
            parts = [[result] for result in results]
        except TimedOut as error:
            if len(results) == 1:
                raise
            logger.info("%d rows of %s in halves: %s", len(results), self._watch.quoted_name, error)
            parts = [list(results[: len(results) // 2]), list(results[len(results) // 2 :])]
        report = WriteReport()
        for part in parts:
            report.extend(await self.write(part, wait_for_rows))
        return report

    async def _complete_across_outages(self, results: Sequence[RowResult], wait_for_rows: bool) -> WriteReport:
        """Writes results in one transaction; begins again when the database is back, after each lost connection."""
        backoff = reconnect_backoff()
        while True:
            try:
                return await self._complete_once(results, wait_for_rows)
            except DatabaseUnavailable as error:
                self._context.database.report(error)
                await asyncio.sleep(backoff.next_s())

    async def _complete_once(self, results: Sequence[RowResult], wait_for_rows: bool) -> WriteReport:
        """Writes results in one transaction, once it is this write's turn, and records the report."""
        context, watch = self._context, self._watch
        await context.guard.hold()
        if wait_for_rows:
            # The wait may take 2 s, and must block neither other writes to the table nor all connections of the pool.
            async with context.row_wait_slots.slot(self._lane.rank), context.database.connection() as connection:
                report = await complete(connection, watch, context.identity.fingerprint, self._lease, results, True)
        else:
            async with context.table_locks[watch.identifiers.table, self._lane]:
                with context.measured("complete"):
                    async with context.database.connection() as connection:
                        report = await complete(connection, watch, context.identity.fingerprint, self._lease, results)
        self._record(report)
        context.catalogue.mark_healthy(watch)
        return report

    def _record(self, report: WriteReport) -> None:
        telemetry, watch = self._context.telemetry, self._watch
        self._context.progress.record(watch.id, report)
        telemetry.events_done(watch.name, count_outcomes(report))
        lags_s, backfill_lags_s = ([ms / 1000 for ms in lags] for lags in (report.lags_ms, report.backfill_lags_ms))
        telemetry.vectors_committed(watch.name, lags_s, backfill_lags_s)

    async def _lacks_privilege(self, error: StatementRejected | WriteSuppressed) -> bool:
        """Whether our role lacks a privilege on the table. Then no row is at fault."""
        if not isinstance(error, StatementRejected) or error.sqlstate != INSUFFICIENT_PRIVILEGE:
            return False
        async with self._context.database.connection() as connection:
            return await connection.fetchval(statement("missing_right"), self._watch.id) is not None

    async def _record_rejection(
        self, result: RowResult, error: StatementRejected | WriteSuppressed, wait_for_rows: bool
    ) -> WriteReport:
        """Records the rejected row as failed, keeping its vector: the row of the table is left as it is.

        Raises `error` if that was tried already. A failure to read the source keeps its own reason.
        """
        if result.keeps_vector:
            raise error
        reason = "write_suppressed" if isinstance(error, WriteSuppressed) else "write_rejected"
        code = "" if isinstance(error, WriteSuppressed) else f" (SQLSTATE {error.sqlstate})"
        logger.warning("%s refuses the vector of key %s: %s", self._watch.quoted_name, result.key, error)
        failed = replace(result, keeps_vector=True)
        # An unreadable source keeps its own reason, which may also be why the write fails: in a trigger that reads it,
        # say.
        if result.reason != READ_REJECTED:
            failed = replace(
                failed,
                outcome=RowOutcome.FAILED,
                content_hash=FAILED,
                packed_vector=None,
                vector_digest=None,
                reason=reason,
                message=f"{error}{code}",
            )
        return await self._complete_across_outages([failed], wait_for_rows)


_OUTCOME_LABELS = {
    RowOutcome.VECTOR: "embedded",
    RowOutcome.UNCHANGED: "unchanged",
    RowOutcome.EMPTY: "empty",
    RowOutcome.MISSING: "deleted",
    RowOutcome.FAILED: "failed",
}


def count_outcomes(report: WriteReport) -> Counter[tuple[str, str]]:
    """Events that a write ended, by outcome and reason. A row counts once; its other events were `superseded`."""
    counts = Counter((_OUTCOME_LABELS[r.outcome], r.reason) for r in report.written)
    counts["superseded", ""] = sum(len(r.gens) - 1 for r in report.written)
    counts["truncated", ""] = sum(len(r.gens) for r in report.voided)
    counts["lost", ""] = sum(len(r.gens) for r in report.lease_lost)
    return +counts
