"""Who waits: somebody who asked over REST, a row that changed, or one that a backfill found."""

from __future__ import annotations

from enum import Enum


class Lane(Enum):
    """In the order of precedence; the later ones are guaranteed shares of the device's time.

    Which lane work came by never changes its vector.
    """

    QUERY = "query"
    RERANK = "rerank"
    INGEST = "ingest"  # rows that changed
    BACKFILL = "backfill"  # rows that a scan found: backfill, sweep, verify, another model

    @property
    def rank(self) -> int:
        """0 goes first."""
        return _RANKS[self]

    @property
    def is_of_rows(self) -> bool:
        """Rows are never refused: they wait, in the database."""
        return self in ROWS


_RANKS = {lane: rank for rank, lane in enumerate(Lane)}
ROWS = (Lane.INGEST, Lane.BACKFILL)
