"""State that the parts of ingest share: services, limits, the keys in flight, and the progress to report."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field

from sidecar.batching.embedder import Embedder
from sidecar.batching.job import ROWS, Lane
from sidecar.ingest.catalogue import Catalogue
from sidecar.ingest.horizon import Horizon
from sidecar.postgres.completion import RowOutcome, WriteReport
from sidecar.postgres.database import Database
from sidecar.postgres.events import Key
from sidecar.postgres.heartbeat import Identity
from sidecar.postgres.liveness import LivenessLock
from sidecar.postgres.session_guard import SessionGuard
from sidecar.postgres.statements import statement
from sidecar.ranked_semaphore import RankedSemaphore
from sidecar.settings import Settings
from sidecar.telemetry.telemetry import Stage, Telemetry

MAX_ROW_WAITS, MAX_BACKFILL_READS = 2, 2  # of the pool's 8 connections


class KeysInFlight:
    """The keys that batches of this sidecar are working on.

    A row that changes again while it is encoded has a second event, in a second batch. If both were encoded at once,
    one result would come too late and be repeated; so the second batch works on the row last, and reads it once the
    first has ended. A live change does not wait for a backfill of the same row: it is written first, and the result of
    the backfill is then found to be stale.

    Keys of other sidecars are not known here; `complete` drops results that come too late.
    """

    def __init__(self) -> None:
        self._ended: dict[Lane, dict[tuple[int, Key], asyncio.Event]] = {lane: {} for lane in ROWS}

    def must_wait(self, watch_id: int, key: Key, lane: Lane) -> bool:
        """Whether a batch of `lane` must wait for another one that has the key."""
        return self._end_of(watch_id, key, lane) is not None

    @contextmanager
    def held(self, watch_id: int, keys: Collection[Key], lane: Lane) -> Iterator[None]:
        """Marks `keys`, none of which must wait, as in flight in a batch of `lane` for the length of the block."""
        end, ended = asyncio.Event(), self._ended[lane]
        ended.update(((watch_id, key), end) for key in keys)
        try:
            yield
        finally:
            for key in keys:
                del ended[watch_id, key]
            end.set()

    async def wait(self, watch_id: int, key: Key, lane: Lane) -> None:
        """Waits until a batch of `lane` need no longer wait for the batch that has the key now."""
        end = self._end_of(watch_id, key, lane)
        if end is not None:
            await end.wait()

    def _end_of(self, watch_id: int, key: Key, lane: Lane) -> asyncio.Event | None:
        ends = (self._ended[other].get((watch_id, key)) for other in ROWS if other.rank <= lane.rank)
        return next((end for end in ends if end is not None), None)


@dataclass(slots=True)
class _Unreported:
    """Rows, vectors and lags of one watch since the last report."""

    written: int = 0
    embedded: int = 0
    lags_ms: list[float] = field(default_factory=list)


class Progress:
    """Rows embedded since the last report, per watch.

    Kept in memory and written every few seconds: a write per batch to the same row would leave little but dead tuples.
    """

    def __init__(self) -> None:
        self._unreported: defaultdict[int, _Unreported] = defaultdict(_Unreported)  # by watch

    def record(self, watch_id: int, report: WriteReport) -> None:
        """Counts the rows and vectors of a write, and their lags."""
        unreported = self._unreported[watch_id]
        unreported.written += len(report.written)
        unreported.embedded += sum(1 for r in report.written if r.outcome is RowOutcome.VECTOR)
        unreported.lags_ms += report.lags_ms

    async def report(self, database: Database) -> None:
        """Adds what was recorded to sidecar_internal.progress. Raises DatabaseError."""
        by_watch, self._unreported = self._unreported, defaultdict(_Unreported)
        for watch_id, unreported in by_watch.items():
            if unreported.written:
                lags_ms = unreported.lags_ms
                lag_ms = sum(lags_ms) / len(lags_ms) if lags_ms else None
                async with database.connection() as connection:
                    await connection.execute(statement("record_progress"), watch_id, unreported.embedded, lag_ms)


@dataclass(frozen=True, slots=True)
class Context:
    """Services and state that the parts of ingest share. Created once, when ingest starts.

    `table_locks` serialise the writes of this sidecar to one table, separately for live changes and for a backfill: a
    write of 256 rows takes a second where there is an HNSW index. `row_wait_slots` bound the connections that wait for
    a row locked by a user's transaction. `backfill_read_slots` bound those that read for a backfill, tens of megabytes
    each; the others are left to live changes.
    """

    settings: Settings
    database: Database
    embedder: Embedder
    identity: Identity
    catalogue: Catalogue
    progress: Progress
    telemetry: Telemetry
    liveness: LivenessLock
    guard: SessionGuard
    horizon: Horizon = field(default_factory=Horizon)
    table_locks: defaultdict[tuple[str, Lane], asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    keys_in_flight: KeysInFlight = field(default_factory=KeysInFlight)
    row_wait_slots: RankedSemaphore = field(
        default_factory=lambda: RankedSemaphore(MAX_ROW_WAITS, {Lane.BACKFILL.rank: 0.1})
    )
    backfill_read_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_BACKFILL_READS))

    @asynccontextmanager
    async def reading(self, lane: Lane) -> AsyncIterator[None]:
        """Bounds and measures the block, which reads rows for a batch of `lane`."""
        async with self.backfill_read_slots if lane is Lane.BACKFILL else nullcontext():
            with self.measured("read"):
                yield

    def measured(self, operation: str) -> AbstractContextManager[None]:
        """Measures the block, an operation on the database."""
        return self.telemetry.stage(Stage.DATABASE, Lane.INGEST.value, operation)
