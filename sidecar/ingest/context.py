"""What every part of ingest works with."""

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

ROW_WAITS, BACKFILL_READS = 2, 2  # of the pool's 8 connections


class KeysInFlight:
    """Which keys the batches of this sidecar are working on. Other sidecars do not know of them; complete has the last
    word.

    A row that changes again while it is encoded has a second event, in a second batch. Encoded at once, one of the two
    would come too late and be done again; so the second batch leaves it for last, and reads it when the first is done.
    A change does not wait for a backfill that has the same row, though: it goes first, and what the backfill has read
    of the row is found to be stale.
    """

    def __init__(self) -> None:
        self._ends: dict[Lane, dict[tuple[int, Key], asyncio.Event]] = {lane: {} for lane in ROWS}

    def has(self, watch_id: int, key: Key, lane: Lane) -> bool:
        """Whether a batch has it in hand that one of `lane` waits for."""
        return self._end_of(watch_id, key, lane) is not None

    @contextmanager
    def held(self, watch_id: int, keys: Collection[Key], lane: Lane) -> Iterator[None]:
        """A batch of `lane` has `keys` in hand, of which it need not wait for any."""
        end, ends = asyncio.Event(), self._ends[lane]
        ends.update(((watch_id, key), end) for key in keys)
        try:
            yield
        finally:
            for key in keys:
                del ends[watch_id, key]
            end.set()

    async def wait(self, watch_id: int, key: Key, lane: Lane) -> None:
        """Until the batch that has it in hand is done with it."""
        end = self._end_of(watch_id, key, lane)
        if end is not None:
            await end.wait()

    def _end_of(self, watch_id: int, key: Key, lane: Lane) -> asyncio.Event | None:
        ends = (self._ends[other].get((watch_id, key)) for other in ROWS if other.rank <= lane.rank)
        return next((end for end in ends if end is not None), None)


@dataclass(slots=True)
class _Tally:
    embedded: int = 0
    lags_ms: list[float] = field(default_factory=list)


class Progress:
    """Counted in memory and written every few seconds: a row per batch in a busy table would be dead tuples only."""

    def __init__(self) -> None:
        self._tallies: defaultdict[int, _Tally] = defaultdict(_Tally)

    def count(self, watch_id: int, completion: WriteReport) -> None:
        tally = self._tallies[watch_id]
        tally.embedded += sum(1 for r in completion.written if r.outcome is RowOutcome.VECTOR)
        tally.lags_ms += completion.lags_ms

    async def report(self, database: Database) -> None:
        """Adds what was counted to sidecar_internal.progress."""
        tallies, self._tallies = self._tallies, defaultdict(_Tally)
        for watch_id, tally in tallies.items():
            if tally.embedded:
                lag_ms = sum(tally.lags_ms) / len(tally.lags_ms) if tally.lags_ms else None
                async with database.connection() as connection:
                    await connection.execute(statement("record_progress"), watch_id, tally.embedded, lag_ms)


@dataclass(frozen=True, slots=True)
class Context:
    """Composed once, when ingest starts.

    `table_locks`: completes on one table are serialised inside a sidecar, those of changes and those of a backfill
    apart: one of 256 rows takes a second where an HNSW index stands. `row_waits`: how many connections may be waiting
    for a row that a user's transaction holds. `backfill_reads`: how many may be reading for a backfill, tens of
    megabytes each: the others are left to changes.
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
    in_hand: KeysInFlight = field(default_factory=KeysInFlight)
    row_waits: RankedSemaphore = field(default_factory=lambda: RankedSemaphore(ROW_WAITS, {Lane.BACKFILL.rank: 0.1}))
    backfill_reads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(BACKFILL_READS))

    @asynccontextmanager
    async def reading(self, lane: Lane) -> AsyncIterator[None]:
        """The block reads rows for a batch of a lane."""
        async with self.backfill_reads if lane is Lane.BACKFILL else nullcontext():
            with self.measured("read"):
                yield

    def measured(self, operation: str) -> AbstractContextManager[None]:
        """The block is an operation on the database."""
        return self.telemetry.stage(Stage.DATABASE, Lane.INGEST.value, operation)
