"""What every part of ingest works with."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field

from sidecar.batching.embedder import Embedder
from sidecar.batching.job import Lane
from sidecar.ingest.catalogue import Catalogue
from sidecar.ingest.horizon import Horizon
from sidecar.ingest.in_hand import KeysInHand
from sidecar.ingest.progress import Progress
from sidecar.postgres.database import Database
from sidecar.postgres.liveness import Liveness
from sidecar.postgres.presence import Identity
from sidecar.postgres.session_guard import SessionGuard
from sidecar.ranked_semaphore import RankedSemaphore
from sidecar.settings import Settings
from sidecar.telemetry.telemetry import Stage, Telemetry

ROW_WAITS, BACKFILL_READS = 2, 2  # of the pool's 8 connections


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
    liveness: Liveness
    guard: SessionGuard
    horizon: Horizon = field(default_factory=Horizon)
    table_locks: defaultdict[tuple[str, Lane], asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    in_hand: KeysInHand = field(default_factory=KeysInHand)
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
