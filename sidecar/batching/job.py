"""One caller's work: some texts, or the views of one picture. It may be split over several micro-batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedText
from sidecar.batching.lane import Lane

Units: TypeAlias = Sequence[PreparedText] | NDArray[np.uint8]


class Kind(Enum):
    """What a micro-batch is made of; the device never gets both at once."""

    TEXT = "text"
    PICTURE = "picture"


class Job:
    """`units` are prepared texts, or (n, view_size, view_size, 3) uint8 views; one unit is one view of device work.

    `taken` counts the units handed to the device, in order. `answer` gets (n, dimensions) float32 once all are encoded.
    """

    def __init__(self, lane: Lane, units: Units, answer: asyncio.Future[NDArray[np.float32]]) -> None:
        self.lane = lane
        self.kind = Kind.PICTURE if isinstance(units, np.ndarray) else Kind.TEXT
        self.units = units
        self.answer = answer
        self.taken = 0
        self._encoded: list[NDArray[np.float32]] = []

    @property
    def waiting(self) -> int:
        """Units not yet handed to the device."""
        return len(self.units) - self.taken

    def accept(self, vectors: NDArray[np.float32]) -> None:
        """Keep the vectors of the units that follow; the last ones complete the answer.

        Units are handed out in order by one thread, and come back in that order.
        """
        self._encoded.append(vectors)
        if not self.answer.done() and sum(map(len, self._encoded)) == len(self.units):
            self.answer.set_result(np.concatenate(self._encoded))

    def fail(self, error: Exception) -> None:
        """Tell the caller, unless an answer was given or the caller has gone."""
        if not self.answer.done():
            self.answer.set_exception(error)
