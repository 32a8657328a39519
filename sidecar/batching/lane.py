"""Who waits: somebody who asked over REST, or a row that fills in by itself."""

from __future__ import annotations

from enum import Enum


class Lane(Enum):
    """In the order of precedence; the later ones are guaranteed shares of the device's time.

    Which lane work came by never changes its vector.
    """

    QUERY = "query"
    RERANK = "rerank"
    INGEST = "ingest"
