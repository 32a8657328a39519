"""What every part of ingest works with."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from sidecar.batching.embedder import Embedder
from sidecar.batching.lane import Lane
from sidecar.ingest.catalogue import Catalogue
from sidecar.ingest.in_hand import KeysInHand
from sidecar.ingest.progress import Progress
from sidecar.postgres.database import Database
from sidecar.postgres.presence import Identity
from sidecar.settings import Settings
from sidecar.telemetry.telemetry import Stage, Telemetry

ROW_WAITS = 2  # of the pool's 8 connections


@dataclass(frozen=True, slots=True)
class Context:
    """Composed once, when ingest starts.

    `table_locks`: completes on one table are serialised inside a sidecar. `row_waits`: how many connections may be
    waiting for a row that a user's transaction holds.
    """

    settings: Settings
    database: Database
    embedder: Embedder
    identity: Identity
    catalogue: Catalogue
    progress: Progress
    telemetry: Telemetry
    table_locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    in_hand: KeysInHand = field(default_factory=KeysInHand)
    row_waits: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ROW_WAITS))

    def measured(self, operation: str) -> AbstractContextManager[None]:
        """The block is an operation on the database."""
        return self.telemetry.stage(Stage.DATABASE, Lane.INGEST.value, operation)
