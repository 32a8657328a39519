"""Who waits: somebody who asked over REST, or a row that fills in by itself."""

from __future__ import annotations

from enum import Enum


class Lane(Enum):
    """Queries go first; ingest is guaranteed a share. Which lane work came by never changes its vector."""

    QUERY = "query"
    INGEST = "ingest"
