"""How fast the device gets through its work, as measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sidecar.batching.job import Kind
from sidecar.batching.lane import Lane
from sidecar.batching.micro_batch import MicroBatch

_SMOOTHING = 0.2  # weight of the newest micro-batch: about the last ten of them count
_LONGEST_PAUSE_S = 60


class DrainRate:
    """Units a second, an exponential mean over recent micro-batches."""

    def __init__(self) -> None:
        self._seconds_per_unit: float | None = None

    def add(self, units: int, duration_s: float) -> None:
        newest = duration_s / units
        if self._seconds_per_unit is None:
            self._seconds_per_unit = newest
        else:
            self._seconds_per_unit += _SMOOTHING * (newest - self._seconds_per_unit)

    @property
    def per_s(self) -> float | None:
        """None while nothing has been measured."""
        return 1 / self._seconds_per_unit if self._seconds_per_unit else None


class LaneRates:
    """How fast the work of each lane and kind leaves, while it waits: what goes before and between is counted in."""

    def __init__(self) -> None:
        self._rates: dict[tuple[Lane, Kind], DrainRate] = {}
        self._elapsed_s: dict[tuple[Lane, Kind], float] = {}  # since it had a part in a micro-batch

    def add(self, batch: MicroBatch, duration_s: float) -> None:
        self._elapsed_s = {key: self._elapsed_s.get(key, 0.0) + duration_s for key in batch.waited}
        for lane in Lane:
            if units := batch.units_of(lane):
                key = lane, batch.kind
                self._rates.setdefault(key, DrainRate()).add(units, self._elapsed_s.pop(key))

    def pause_s(self, lane: Lane, kinds: Sequence[Kind], units: int) -> int:
        """Whole seconds, 1 to 60, until so many units of a lane in which these kinds wait will have left.

        One second where nothing has been measured.
        """
        rates = [rate.per_s for kind in kinds or list(Kind) if (rate := self._rates.get((lane, kind)))]
        per_s = sum(rate for rate in rates if rate)
        return min(max(math.ceil(units / per_s), 1), _LONGEST_PAUSE_S) if per_s else 1
