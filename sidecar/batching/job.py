"""A job: the inputs of one caller, in one lane."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.inputs import Inputs, Kind
from sidecar.telemetry.traces import TraceContext


class Lane(Enum):
    """Where inputs come from: requests (QUERY, RERANK) or rows (INGEST, BACKFILL), in order of precedence.

    All lanes but the first have a guaranteed share of the device's time. The lane never affects the vector.
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
        """Rows are never rejected: they wait, in the database."""
        return self in ROWS


_RANKS = {lane: rank for rank, lane in enumerate(Lane)}
ROWS = (Lane.INGEST, Lane.BACKFILL)


class Job:
    """Inputs that wait for the device; they may be split over several micro-batches.

    `answer` gets one float32 row per item once all are encoded. `taken` items have gone to the device, in order.
    `trace` is the caller's. `enqueued_s` is a time of time.monotonic(), 0 before the job is in its lane. `dropped`: it
    failed or was cancelled, and no more of it is encoded. Its answer says so only once the event loop has set it.
    """

    def __init__(
        self, lane: Lane, inputs: Inputs, answer: asyncio.Future[NDArray[np.float32]], trace: TraceContext | None = None
    ) -> None:
        self.lane = lane
        self.inputs = inputs
        self.answer = answer
        self.trace = trace
        self.enqueued_s = 0.0
        self.taken = 0
        self.dropped = False
        self._rows: dict[int, NDArray[np.float32]] = {}  # by the index of their first item

    @property
    def kind(self) -> Kind:
        return self.inputs.kind

    @property
    def waiting(self) -> int:
        """Number of items not yet taken by the device."""
        return len(self.inputs) - self.taken

    def add_rows(self, start: int, rows: NDArray[np.float32]) -> None:
        """Adds the results of the items from `start` on; the last to come completes the answer.

        Items are taken in order, but devices end in any order: the rows are put together by index.
        """
        self._rows[start] = rows
        if not self.answer.done() and sum(map(len, self._rows.values())) == len(self.inputs):
            self.answer.set_result(np.concatenate([self._rows[index] for index in sorted(self._rows)]))

    def fail(self, error: Exception) -> None:
        """Sets the answer to `error`, unless it is set already or the caller was cancelled."""
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(frozen=True, slots=True)
class JobSlice:
    """The items `start` to `stop` of a job: its part of one micro-batch."""

    job: Job
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def ends_job(self) -> bool:
        return self.stop == len(self.job.inputs)
