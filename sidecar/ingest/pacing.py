"""How many rows of a watch may be claimed now, where its user set `rows_per_s`.

A token bucket per watch. It holds a fifth of a second's rows, at least one: so in `t` seconds no more than
`rows_per_s · t` rows and that fifth are claimed, of whatever queue. A row that is claimed again counts again.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

BURST_S = 0.2
UNCAPPED = sys.maxsize


@dataclass(slots=True)
class _Bucket:
    rows_per_s: float
    rows: float
    filled_at: float

    @property
    def full(self) -> float:
        return max(self.rows_per_s * BURST_S, 1.0)

    def fill(self, now: float) -> None:
        self.rows = min(self.rows + (now - self.filled_at) * self.rows_per_s, self.full)
        self.filled_at = now


class RateCaps:
    """`clock` is in seconds and goes forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[int, _Bucket] = {}

    def free_rows(self, watch_id: int, rows_per_s: float | None) -> int:
        """0 until the bucket is full, so that rows are claimed some at a time; UNCAPPED without a cap."""
        if rows_per_s is None:
            self._buckets.pop(watch_id, None)
            return UNCAPPED
        now = self._clock()
        bucket = self._buckets.setdefault(watch_id, _Bucket(rows_per_s, 0.0, now))
        bucket.rows_per_s = rows_per_s
        bucket.fill(now)
        return math.floor(bucket.rows) if bucket.rows >= bucket.full else 0

    def take(self, watch_id: int, rows: int) -> None:
        """So many were claimed."""
        if watch_id in self._buckets:
            self._buckets[watch_id].rows -= rows

    def wait_s(self) -> float:
        """Seconds until the next bucket is full; infinite if none is filling."""
        now = self._clock()
        for bucket in self._buckets.values():
            bucket.fill(now)
        filling = [bucket for bucket in self._buckets.values() if bucket.rows < bucket.full]
        return min(((bucket.full - bucket.rows) / bucket.rows_per_s for bucket in filling), default=math.inf)
