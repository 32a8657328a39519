"""How many rows to claim at a time: no more than the device does in half a second, and than the watch's user allows.

A slow device would otherwise hoard hundreds of rows under its lease that another sidecar could be doing.

`rows_per_s` is a token bucket per watch. It holds a fifth of a second's rows, at least one: so in `t` seconds no more
than `rows_per_s · t` rows and that fifth are claimed, of whatever queue. A row that is claimed again counts again.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from sidecar.concurrency import Backoff

BURST_S = 0.2
UNLIMITED = sys.maxsize


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


class RateLimiter:
    """`clock` is in seconds and goes forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[int, _Bucket] = {}

    def free_rows(self, watch_id: int, rows_per_s: float | None) -> int:
        """0 until the bucket is full, so that rows are claimed some at a time; UNLIMITED without a cap."""
        if rows_per_s is None:
            self._buckets.pop(watch_id, None)
            return UNLIMITED
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


TARGET_S = 0.5
FIRST_ROWS = 16


class ClaimSize:
    """Follows the rate at which batches come out, over all watches of one kind."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._rows_per_s: float | None = None
        self._last_end = float("-inf")

    def rows_to_claim(self) -> int:
        if self._rows_per_s is None:
            return min(FIRST_ROWS, self._max_rows)
        return max(1, min(self._max_rows, round(self._rows_per_s * TARGET_S)))

    def record(self, rows: int, started: float) -> None:
        """A batch of `rows` claimed at `started` (time.monotonic) is done. Small batches say little about the rate."""
        now = time.monotonic()
        elapsed_s = max(now - max(started, self._last_end), 1e-4)
        self._last_end = now
        rate = rows / elapsed_s
        if self._rows_per_s is None or rate > self._rows_per_s or rows >= self.rows_to_claim() / 2:
            self._rows_per_s = rate if self._rows_per_s is None else 0.5 * self._rows_per_s + 0.5 * rate


FIRST_REST_S, LAST_REST_S = 0.1, 5.0


class FailurePauses:
    """Watches whose statements fail rest, each by itself, so that they neither hold up the others nor the server.

    Doubles a watch's rest with each failure in a row. `clock` is in seconds and goes forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._backoffs: dict[int, Backoff] = {}
        self._until: dict[int, float] = {}

    def begin(self, watch_id: int) -> float:
        """A statement on the watch failed. Returns for how many seconds it rests."""
        delay_s = self._backoffs.setdefault(watch_id, Backoff(FIRST_REST_S, LAST_REST_S)).next_s()
        self._until[watch_id] = self._clock() + delay_s
        return delay_s

    def end(self, watch_id: int) -> None:
        """A statement on the watch worked."""
        self._backoffs.pop(watch_id, None)
        self._until.pop(watch_id, None)

    def is_resting(self, watch_id: int) -> bool:
        return self._clock() < self._until.get(watch_id, float("-inf"))
