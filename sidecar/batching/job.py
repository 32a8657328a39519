"""One caller's work on its way. It may be split over several micro-batches."""

from __future__ import annotations

import asyncio
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.inputs import Kind, Work
from sidecar.telemetry.traces import TraceContext


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


class Job:
    """`answer` gets one row for each unit, float32, once all are encoded; `taken` units have gone to the device, in
    order.

    `trace` is its caller's; it entered the lane at `entered_s` of time.monotonic(), 0: not yet.
    """

    def __init__(
        self, lane: Lane, work: Work, answer: asyncio.Future[NDArray[np.float32]], trace: TraceContext | None = None
    ) -> None:
        self.lane = lane
        self.work = work
        self.answer = answer
        self.trace = trace
        self.entered_s = 0.0
        self.taken = 0
        self._encoded: list[NDArray[np.float32]] = []

    @property
    def kind(self) -> Kind:
        return self.work.kind

    @property
    def waiting(self) -> int:
        """Units not yet handed to the device."""
        return len(self.work) - self.taken

    def accept(self, rows: NDArray[np.float32]) -> None:
        """Keep the results of the units that follow; the last ones complete the answer.

        Units are handed out in order by one thread, and come back in that order.
        """
        self._encoded.append(rows)
        if not self.answer.done() and sum(map(len, self._encoded)) == len(self.work):
            self.answer.set_result(np.concatenate(self._encoded))

    def fail(self, error: Exception) -> None:
        """Tell the caller, unless an answer was given or the caller has gone."""
        if not self.answer.done():
            self.answer.set_exception(error)
