"""What every part of ingest works with."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from sidecar.batching.embedder import Embedder
from sidecar.ingest.catalogue import Catalogue
from sidecar.ingest.progress import Progress
from sidecar.postgres.database import Database
from sidecar.postgres.presence import Identity
from sidecar.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """Composed once, when ingest starts. `table_locks`: completes on one table are serialised inside a sidecar."""

    settings: Settings
    database: Database
    embedder: Embedder
    identity: Identity
    catalogue: Catalogue
    progress: Progress
    table_locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
