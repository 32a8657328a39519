"""Writes results: vectors, ledger entries and the deletion of events in one short transaction.

Order of locks, the same everywhere: watch row (FOR SHARE) → events (skip locked) → rows that users write, which are the
watched ones or existing ones of a companion (skip locked) → ledger keys (sorted). Nothing here waits for a user's row
except `complete(…, wait_for_rows=True)`, which is called for a single row, waits before it takes any other lock, and
then locks the watch without waiting. All other waits (for the ledger, which only sidecars write; for tables under DDL;
for locks taken by the user's own triggers) end before Postgres would look for a deadlock.

A result counts only if the ledger entry of its key is still the one that was read together with the content:

    read    now       the result
    none    none      counts, and inserts the entry
    none    some      is stale: another result was written first
    some    the same  counts, and replaces the entry
    some    another   is stale
    some    none      is stale: what deleted the entry (a TRUNCATE, say) deleted the vector, too

So each result was read after the previous one was committed, and the content of a key never goes back in time, whatever
the order of the events. A stale result is dropped, and its events are released to be read again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import asyncpg

from sidecar.errors import DatabaseError, WatchChanged
from sidecar.postgres.events import Key, Lease
from sidecar.postgres.rows import key_parameters
from sidecar.postgres.statements import statement
from sidecar.postgres.watches import Watch

if TYPE_CHECKING:
    from sidecar.postgres.database import Connection

EMPTY, FAILED = b"empty", b"failed"


class RowOutcome(Enum):
    """The outcome of processing a key."""

    VECTOR = "vector"
    UNCHANGED = "unchanged"  # content and vector are as in the ledger: only the generation advances
    EMPTY = "empty"
    MISSING = "missing"  # the row is gone
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RowResult:
    """The result of one key. `gens` are its events in flight; `version` that of the ledger entry as read, None if there
    was none; `has_vector`: whether there was a vector then.

    `packed_vector` and `vector_digest` are set for VECTOR; for UNCHANGED, `vector_digest` is the ledger's.
    `keeps_vector`: the table rejects writes, so a FAILED row keeps its old vector.
    """

    key: Key
    gens: tuple[int, ...]
    outcome: RowOutcome
    content_hash: bytes | None = None
    packed_vector: bytes | None = None
    vector_digest: bytes | None = None
    truncated: bool = False
    unreadable: bool = False
    attempts: int = 1
    reason: str = ""
    message: str = ""
    version: str | None = None
    has_vector: bool = False
    keeps_vector: bool = False

    @property
    def gen(self) -> int:
        return max(self.gens)


@dataclass(slots=True)
class WriteReport:
    """What happened to each result: it is in exactly one of the lists."""

    written: list[RowResult] = field(default_factory=list)
    voided: list[RowResult] = field(default_factory=list)  # by a TRUNCATE
    lease_lost: list[RowResult] = field(default_factory=list)  # another sidecar has the lease
    locked: list[RowResult] = field(default_factory=list)  # the row is locked by another transaction
    stale: list[RowResult] = field(default_factory=list)  # the key was written since it was read: read it again
    lags_ms: list[float] = field(default_factory=list)  # from event to commit, of live events whose vector is written
    backfill_lags_ms: list[float] = field(default_factory=list)
    lags_taken_at: float = 0.0  # when the lags were measured, on the clock of time.perf_counter

    def extend(self, other: WriteReport) -> None:
        """Adds the results and lags of another write."""
        for name in ("written", "voided", "lease_lost", "locked", "stale", "lags_ms", "backfill_lags_ms"):
            getattr(self, name).extend(getattr(other, name))

    def record_commit(self) -> None:
        """Extends the lags up to now, the commit: before, the vectors were not visible."""
        since_ms = (time.perf_counter() - self.lags_taken_at) * 1000
        self.lags_ms = [lag_ms + since_ms for lag_ms in self.lags_ms]
        self.backfill_lags_ms = [lag_ms + since_ms for lag_ms in self.backfill_lags_ms]


@dataclass(frozen=True, slots=True)
class _LockedEvents:
    """The state of the watch and its events under their locks."""

    held: frozenset[int]
    truncated_gen: int
    has_failures: bool


class WriteSuppressed(DatabaseError):
    """A locked row was not written as given: a BEFORE trigger of the user's suppressed or changed the write."""


async def complete(
    connection: Connection,
    watch: Watch,
    fingerprint: str,
    lease: Lease,
    results: Sequence[RowResult],
    wait_for_rows: bool = False,
) -> WriteReport:
    """Writes some dozens of results, with distinct keys, in one transaction.

    Raises WatchChanged if the watch was ended or has another fingerprint, WriteSuppressed, Contention, and
    StatementRejected if the user's table rejects a row. After any of them nothing was written.
    """
    try:
        await connection.execute(statement("begin_complete"))
        if watch.identifiers.is_partitioned:
            await connection.execute(statement("plan_with_values"))
        if wait_for_rows:
            await _wait_for_rows(connection, watch, results)
        report = await _complete_in_transaction(connection, watch, fingerprint, lease, results, wait_for_rows)
        await connection.execute("commit")
        report.record_commit()
    except BaseException:
        # If this fails, the connection is lost and the transaction with it: the first error is the one to raise.
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await connection.execute("rollback")
        raise
    return report


async def _complete_in_transaction(
    connection: Connection,
    watch: Watch,
    fingerprint: str,
    lease: Lease,
    results: Sequence[RowResult],
    wait_for_rows: bool,
) -> WriteReport:
    """Takes the locks, drops the results that do not count, and writes the others. The caller commits."""
    report = WriteReport()
    state = await _lock_watch_and_events(connection, watch, fingerprint, lease, results)
    current = _sort_out_results(results, state, report)
    with_vector = await _lock_rows(connection, watch, current, report)
    if wait_for_rows:  # a row that cannot be locked now was deleted
        report.stale, report.locked = report.locked, []
    current = [r for r in current if r.key in with_vector]
    current = await _drop_stale(connection, watch, current, report)
    await _write_and_end_events(connection, watch, current, state.held, lease, report)
    await _clear_vectors(connection, watch, report.written, with_vector)
    await _update_failures(connection, watch, report.written, state.has_failures)
    return report


async def _wait_for_rows(connection: Connection, watch: Watch, results: Sequence[RowResult]) -> None:
    """Waits for the rows before any other lock is taken, then locks the watch without waiting."""
    await connection.execute(statement("lengthen_lock_timeout"))
    name = "wait_for_vector" if watch.has_companion else "wait_for_row"
    await connection.execute(watch.sql(name), *key_parameters([r.key for r in results]))
    await connection.execute(statement("restore_lock_timeout"))
    await connection.execute(statement("lock_watch_nowait"), watch.id)


async def _lock_watch_and_events(
    connection: Connection, watch: Watch, fingerprint: str, lease: Lease, results: Sequence[RowResult]
) -> _LockedEvents:
    gens = [gen for r in results for gen in r.gens]
    named = watch.identifiers
    row = await connection.fetchrow(
        watch.sql("lock_watch_and_events"),
        *(gens, lease.token, named.table, named.companion),
        *(named.column_numbers, (*named.key_columns, *named.source), named.target_number, named.target),
    )
    if row is None or not row["active"]:
        raise WatchChanged(f"{watch.quoted_name} is no longer watched")
    if not (row["same_tables"] and row["same_columns"]):
        raise WatchChanged(f"{watch.quoted_name} was renamed or dropped")
    if row["fingerprint"] != fingerprint:
        raise WatchChanged(f"{watch.quoted_name} now holds vectors of {row['fingerprint']}")
    return _LockedEvents(frozenset(row["held"] or ()), row["truncated_gen"], row["has_failures"])


def _sort_out_results(results: Sequence[RowResult], state: _LockedEvents, report: WriteReport) -> list[RowResult]:
    """Returns the results that may still be written; reports those whose lease is lost or that a TRUNCATE made void."""
    current = []
    for result in results:
        if result.gen not in state.held:
            report.lease_lost.append(result)
        elif result.gen <= state.truncated_gen:
            report.voided.append(result)
        else:
            current.append(result)
    return current


async def _lock_rows(
    connection: Connection, watch: Watch, results: Sequence[RowResult], report: WriteReport
) -> dict[Key, bool]:
    """Locks the rows of the results. Returns for each key, unless others hold its lock, whether it has a vector."""
    if watch.has_companion:
        return await _lock_vectors(connection, watch, results, report)
    present = [r for r in results if r.outcome is not RowOutcome.MISSING]
    locked = {r.key: False for r in results if r.outcome is RowOutcome.MISSING}
    if not present:
        return locked
    rows = await connection.fetch(watch.sql("lock_rows"), *key_parameters([r.key for r in present]))
    locked |= {present[row["position"] - 1].key: row["has_vector"] for row in rows}
    report.locked = [r for r in present if r.key not in locked]
    return locked


async def _lock_vectors(
    connection: Connection, watch: Watch, results: Sequence[RowResult], report: WriteReport
) -> dict[Key, bool]:
    """Locks rows of a companion: sidecars exclude each other by the ledger, but a user may be deleting some."""
    known = [r.key for r in results if r.has_vector]
    locked_by_others: set[Key] = set()
    if known:
        rows = await connection.fetch(watch.sql("lock_vectors"), *key_parameters(known))
        if len(rows) < len(known):
            rest = list(set(known) - {known[row["position"] - 1] for row in rows})
            found = await connection.fetch(watch.sql("find_existing_vectors"), *key_parameters(rest))
            locked_by_others = {rest[row["position"] - 1] for row in found}
    report.locked = [r for r in results if r.key in locked_by_others]
    return {r.key: True for r in results if r.key not in locked_by_others}


async def _drop_stale(
    connection: Connection, watch: Watch, results: Sequence[RowResult], report: WriteReport
) -> list[RowResult]:
    """Returns the results without UNCHANGED ones whose vector or content has changed since."""
    unchanged = [r for r in results if r.outcome is RowOutcome.UNCHANGED]
    if not unchanged:
        return list(results)
    hashes = [r.content_hash for r in unchanged]
    rows = await connection.fetch(watch.sql("recheck_unchanged"), hashes, *key_parameters([r.key for r in unchanged]))
    fresh = {unchanged[row["position"] - 1].key for row in rows}
    report.stale += [r for r in unchanged if r.key not in fresh]
    return [r for r in results if r.outcome is not RowOutcome.UNCHANGED or r.key in fresh]


async def _write_and_end_events(
    connection: Connection,
    watch: Watch,
    results: Sequence[RowResult],
    held: frozenset[int],
    lease: Lease,
    report: WriteReport,
) -> None:
    """Writes ledger entries and vectors, and deletes the events of the results that pass."""
    void = [gen for r in report.voided for gen in r.gens if gen in held]
    if not results:
        await connection.execute(watch.sql("delete_events"), void, lease.token)
        return
    events = [(gen, r.gen) for r in results for gen in r.gens if gen in held]
    version = 2 * secrets.randbits(62)
    row = await connection.fetchrow(
        watch.sql("finish"),
        [r.gen for r in results],
        [r.content_hash for r in results],
        [r.vector_digest for r in results],
        [r.truncated for r in results],
        [r.unreadable for r in results],
        [r.packed_vector for r in results],
        [r.version for r in results],
        [gen for gen, _ in events] + void,
        [needed for _, needed in events] + [None] * len(void),
        lease.token,
        version,
        *key_parameters([r.key for r in results]),
    )
    assert row is not None, "a select of aggregates has one row"
    passed = frozenset(row["passed"] or ())
    report.written = [r for r in results if r.gen in passed]
    stale = [r for r in results if r.gen not in passed]
    report.stale += stale
    if row["recorded"] > len(passed):
        await connection.execute(watch.sql("delete_new_entries"), version, *key_parameters([r.key for r in stale]))
    report.lags_taken_at = time.perf_counter()
    report.lags_ms, report.backfill_lags_ms = row["lags_ms"] or [], row["backfill_lags_ms"] or []
    if row["written"] < sum(r.packed_vector is not None for r in report.written):
        raise _write_suppressed(report.written)


async def _clear_vectors(
    connection: Connection, watch: Watch, results: Sequence[RowResult], with_vector: dict[Key, bool]
) -> None:
    without_vector = (
        (RowOutcome.EMPTY, RowOutcome.FAILED, RowOutcome.MISSING)
        if watch.has_companion
        else (RowOutcome.EMPTY, RowOutcome.FAILED)
    )
    cleared = [
        r for r in results if r.outcome in without_vector and with_vector.get(r.key, True) and not r.keeps_vector
    ]
    if not cleared:
        return
    name = "clear_vectors_in_companion" if watch.has_companion else "clear_vectors_in_row"
    tag = await connection.execute(watch.sql(name), *key_parameters([r.key for r in cleared]))
    if not watch.has_companion and int(tag.rpartition(" ")[2]) < len(cleared):
        raise _write_suppressed(cleared)


def _write_suppressed(results: Sequence[RowResult]) -> WriteSuppressed:
    keys = ", ".join(str(r.key) for r in results[:3])
    return WriteSuppressed(f"a trigger on the table swallowed or changed a vector; the row is among: {keys}")


async def _update_failures(
    connection: Connection, watch: Watch, results: Iterable[RowResult], has_failures: bool
) -> None:
    failed = [r for r in results if r.outcome is RowOutcome.FAILED]
    others = [r for r in results if r.outcome is not RowOutcome.FAILED]
    if has_failures and others:
        await connection.execute(watch.sql("delete_failures"), *key_parameters([r.key for r in others]))
    if failed:
        await connection.execute(
            watch.sql("record_failures"),
            [r.gen for r in failed],
            [r.attempts for r in failed],
            [r.reason for r in failed],
            [r.message for r in failed],
            *key_parameters([r.key for r in failed]),
        )
