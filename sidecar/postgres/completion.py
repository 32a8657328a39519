"""Writes results: vector, ledger and the end of the event in one short transaction.

Order of locks, the same everywhere: watch row (FOR SHARE) → events (skip locked) → user's rows (skip locked) → ledger
keys (sorted). Nothing here waits for a user's row except `complete(…, wait_for_rows=True)`, which is called for rows
alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from sidecar.errors import DatabaseError, WatchChanged
from sidecar.postgres.events import Key, Lease
from sidecar.postgres.queries import statement
from sidecar.postgres.rows import columns_of
from sidecar.postgres.watches import Watch

if TYPE_CHECKING:
    from sidecar.postgres.database import Connection

EMPTY, FAILED = b"empty", b"failed"
UNWRITABLE = ("write_rejected", "write_suppressed")  # the table refuses our writes, so the old vector stays as it is
LOCK_TIMEOUT, LOCK_TIMEOUT_ALONE = "250ms", "2s"


class Outcome(Enum):
    """What became of a key."""

    VECTOR = "vector"
    UNCHANGED = "unchanged"  # content and stored vector are what the ledger says: only the generation moves on
    EMPTY = "empty"
    MISSING = "missing"  # the row is gone
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one key. `gens` are all its events in hand; the highest one guards the write.

    `packed_vector` and `vector_digest` belong to VECTOR; `vector_digest` of UNCHANGED is the ledger's own.
    """

    key: Key
    gens: tuple[int, ...]
    outcome: Outcome
    content_hash: bytes | None = None
    packed_vector: bytes | None = None
    vector_digest: bytes | None = None
    truncated: bool = False
    attempts: int = 1
    reason: str = ""
    message: str = ""

    @property
    def gen(self) -> int:
        return max(self.gens)


@dataclass(slots=True)
class Completion:
    """Where each result went. Exactly one list holds it."""

    written: list[Result] = field(default_factory=list)
    overtaken: list[Result] = field(default_factory=list)  # a newer generation, or a TRUNCATE, was there first
    lost: list[Result] = field(default_factory=list)  # the lease is somebody else's
    not_now: list[Result] = field(default_factory=list)  # the row is locked by another transaction
    stale: list[Result] = field(default_factory=list)  # UNCHANGED no longer holds: read it again
    lags_ms: list[float] = field(default_factory=list)  # event to vector, of live events whose vector was written


class WriteSuppressed(DatabaseError):
    """A locked row did not come back from the write: a BEFORE trigger of the user's swallowed it."""


async def complete(
    connection: Connection,
    watch: Watch,
    fingerprint: str,
    lease: Lease,
    results: Sequence[Result],
    wait_for_rows: bool = False,
) -> Completion:
    """Completes at most some dozens of results in one transaction. `results` have distinct keys.

    Raises WatchChanged where the watch was unwatched or its fingerprint is another, WriteSuppressed, Contention, and
    StatementRejected where the user's table refuses a row. After any of them nothing was written.
    """
    done = Completion()
    async with connection.transaction():
        timeout = LOCK_TIMEOUT_ALONE if wait_for_rows else LOCK_TIMEOUT
        await connection.execute(statement("begin_complete"), timeout)
        truncated_gen, has_failures = await _lock_watch(connection, watch, fingerprint)
        held = await _lock_events(connection, watch, lease, results)
        current = _split(results, held, truncated_gen, done)
        with_vector = await _lock_rows(connection, watch, current, wait_for_rows, done)
        current = [r for r in current if r.key in with_vector or r.outcome is Outcome.MISSING]
        current = await _drop_stale(connection, watch, current, done)
        passed = await _record_in_ledger(connection, watch, current, done)
        await _write(connection, watch, passed, with_vector)
        await _settle_failures(connection, watch, passed, has_failures)
        finished = [gen for r in (*passed, *done.overtaken) for gen in r.gens if gen in held]
        deleted = await connection.fetch(watch.sql("delete_events"), finished, lease.token)
        embedded = {r.gen for r in passed if r.outcome is Outcome.VECTOR}
        done.lags_ms = [row["lag_ms"] for row in deleted if row["gen"] in embedded and not row["backfill"]]
        done.written = passed
    return done


async def _lock_watch(connection: Connection, watch: Watch, fingerprint: str) -> tuple[int, bool]:
    row = await connection.fetchrow(statement("lock_watch"), watch.id)
    if row is None or not row["active"]:
        raise WatchChanged(f"{watch.label} is no longer watched")
    if row["fingerprint"] != fingerprint:
        raise WatchChanged(f"{watch.label} now holds vectors of {row['fingerprint']}")
    return row["truncated_gen"], row["has_failures"]


async def _lock_events(connection: Connection, watch: Watch, lease: Lease, results: Sequence[Result]) -> set[int]:
    gens = [gen for r in results for gen in r.gens]
    return {row["gen"] for row in await connection.fetch(watch.sql("lock_events"), gens, lease.token)}


def _split(results: Sequence[Result], held: set[int], truncated_gen: int, done: Completion) -> list[Result]:
    current = []
    for result in results:
        if result.gen not in held:
            done.lost.append(result)
        elif result.gen <= truncated_gen:
            done.overtaken.append(result)
        else:
            current.append(result)
    return current


async def _lock_rows(
    connection: Connection, watch: Watch, results: Sequence[Result], wait_for_rows: bool, done: Completion
) -> dict[Key, bool]:
    """Key → whether the row holds a vector now. Companion tables are written by nobody else: no lock is needed."""
    present = [r for r in results if r.outcome is not Outcome.MISSING]
    if watch.has_companion:
        return {r.key: True for r in present}
    name = "lock_rows_waiting" if wait_for_rows else "lock_rows"
    locked = await _positions(connection, watch, name, present)
    for i, result in enumerate(present, 1):
        if i not in locked:
            # After waiting, a row that is not there was deleted: the delete's own, higher event does the rest.
            (done.overtaken if wait_for_rows else done.not_now).append(result)
    return {present[i - 1].key: has_vector for i, has_vector in locked.items()}


async def _positions(connection: Connection, watch: Watch, name: str, results: Sequence[Result]) -> dict[int, bool]:
    if not results:
        return {}
    rows = await connection.fetch(watch.sql(name), *columns_of([r.key for r in results]))
    return {row["position"]: row["has_vector"] for row in rows}


async def _drop_stale(
    connection: Connection, watch: Watch, results: Sequence[Result], done: Completion
) -> list[Result]:
    unchanged = [r for r in results if r.outcome is Outcome.UNCHANGED]
    if not unchanged:
        return list(results)
    hashes = [r.content_hash for r in unchanged]
    rows = await connection.fetch(watch.sql("recheck_unchanged"), hashes, *columns_of([r.key for r in unchanged]))
    fresh = {unchanged[row["position"] - 1].key for row in rows}
    done.stale += [r for r in unchanged if r.key not in fresh]
    return [r for r in results if r.outcome is not Outcome.UNCHANGED or r.key in fresh]


async def _record_in_ledger(
    connection: Connection, watch: Watch, results: Sequence[Result], done: Completion
) -> list[Result]:
    if not results:
        return []
    rows = await connection.fetch(
        watch.sql("record_in_ledger"),
        [r.gen for r in results],
        [r.content_hash for r in results],
        [r.vector_digest for r in results],
        [r.truncated for r in results],
        *columns_of([r.key for r in results]),
    )
    recorded = {row["position"] for row in rows}
    done.overtaken += [r for i, r in enumerate(results, 1) if i not in recorded]
    return [r for i, r in enumerate(results, 1) if i in recorded]


async def _write(connection: Connection, watch: Watch, results: Sequence[Result], with_vector: dict[Key, bool]) -> None:
    place = "companion" if watch.has_companion else "in_row"
    vectors = [r for r in results if r.outcome is Outcome.VECTOR]
    if vectors:
        packed = [r.packed_vector for r in vectors]
        rows = await connection.fetch(
            watch.sql(f"write_vectors_{place}"), packed, *columns_of([r.key for r in vectors])
        )
        _check_all_written(vectors, {row["position"] for row in rows})
    bare = (Outcome.EMPTY, Outcome.FAILED, Outcome.MISSING) if watch.has_companion else (Outcome.EMPTY, Outcome.FAILED)
    cleared = [r for r in results if r.outcome in bare and with_vector.get(r.key, True) and r.reason not in UNWRITABLE]
    if cleared:
        rows = await connection.fetch(watch.sql(f"clear_vectors_{place}"), *columns_of([r.key for r in cleared]))
        if not watch.has_companion:
            _check_all_written(cleared, {row["position"] for row in rows})


def _check_all_written(results: Sequence[Result], positions: set[int]) -> None:
    missing = [r.key for i, r in enumerate(results, 1) if i not in positions]
    if missing:
        raise WriteSuppressed(f"a trigger on the table swallowed the write of the vector of key {missing[0]}")


async def _settle_failures(connection: Connection, watch: Watch, results: Iterable[Result], has_failures: bool) -> None:
    failed = [r for r in results if r.outcome is Outcome.FAILED]
    others = [r for r in results if r.outcome is not Outcome.FAILED]
    if has_failures and others:
        await connection.execute(watch.sql("delete_failures"), *columns_of([r.key for r in others]))
    if failed:
        await connection.execute(
            watch.sql("record_failures"),
            [r.gen for r in failed],
            [r.attempts for r in failed],
            [r.reason for r in failed],
            [r.message for r in failed],
            *columns_of([r.key for r in failed]),
        )
