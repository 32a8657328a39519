"""Limits claims: their size, the rate of a watch, and the pause after its statements have failed.

ClaimSize       as many rows as the device encodes in half a second, so that a slow device does not hold leases on
                rows another sidecar could process
RateLimiter     at most the `rows_per_s` that the watch's user has set
WatchBackoffs   none for a while after a statement on the watch failed
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from sidecar.concurrency import Backoff

CLAIM_TARGET_S = 0.5
FIRST_CLAIM_ROWS = 16
BURST_S = 0.2
UNLIMITED = sys.maxsize
FIRST_WATCH_RETRY_S, LAST_WATCH_RETRY_S = 0.1, 5.0


class ClaimSize:
    """Claim size for one kind of content and one lane, from the rate at which their batches end.

    `clock` is monotonic, in seconds.
    """

    def __init__(self, max_rows: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_rows = max_rows
        self._clock = clock
        self._rows_per_s: float | None = None
        self._last_end = float("-inf")

    def rows(self) -> int:
        """Rows that are encoded in CLAIM_TARGET_S, between 1 and `max_rows`."""
        if self._rows_per_s is None:
            return min(FIRST_CLAIM_ROWS, self._max_rows)
        return max(1, min(self._max_rows, round(self._rows_per_s * CLAIM_TARGET_S)))

    def record(self, rows: int, started: float) -> None:
        """Records that a batch of `rows`, started at `started` on the clock, has ended just now.

        A batch of less than half the claim size says little about the rate: it may raise it, but never lowers it.
        """
        now = self._clock()
        elapsed_s = max(now - max(started, self._last_end), 1e-4)
        self._last_end = now
        rate = rows / elapsed_s
        if self._rows_per_s is None or rate > self._rows_per_s or rows >= self.rows() / 2:
            self._rows_per_s = rate if self._rows_per_s is None else 0.5 * self._rows_per_s + 0.5 * rate


@dataclass(slots=True)
class _TokenBucket:
    """The rows that may be claimed from one watch: `tokens` when it was last filled, at `filled_at` on the clock."""

    rows_per_s: float
    tokens: float
    filled_at: float

    @property
    def capacity(self) -> float:
        return max(self.rows_per_s * BURST_S, 1.0)

    def refill(self, now: float) -> None:
        self.tokens = min(self.tokens + (now - self.filled_at) * self.rows_per_s, self.capacity)
        self.filled_at = now


class RateLimiter:
    """Token bucket for each watch that has a `rows_per_s`, shared by all its queues.

    A bucket holds a fifth of a second's rows, at least one: in `t` seconds at most `rows_per_s · t` rows and that fifth
    are claimed. A row that is claimed again counts again. `clock` is monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[int, _TokenBucket] = {}  # by watch

    def available_rows(self, watch_id: int, rows_per_s: float | None) -> int:
        """Rows that may be claimed now; UNLIMITED without a limit.

        0 until the bucket is full, so that rows are claimed several at a time.
        """
        if rows_per_s is None:
            self._buckets.pop(watch_id, None)
            return UNLIMITED
        now = self._clock()
        bucket = self._buckets.setdefault(watch_id, _TokenBucket(rows_per_s, 0.0, now))
        bucket.rows_per_s = rows_per_s
        bucket.refill(now)
        return math.floor(bucket.tokens) if bucket.tokens >= bucket.capacity else 0

    def consume(self, watch_id: int, rows: int) -> None:
        """Takes the tokens of `rows` that were claimed."""
        if watch_id in self._buckets:
            self._buckets[watch_id].tokens -= rows

    def wait_s(self) -> float:
        """Seconds until the next bucket is full; infinite if all are."""
        now = self._clock()
        for bucket in self._buckets.values():
            bucket.refill(now)
        filling = [bucket for bucket in self._buckets.values() if bucket.tokens < bucket.capacity]
        return min(((bucket.capacity - bucket.tokens) / bucket.rows_per_s for bucket in filling), default=math.inf)


class WatchBackoffs:
    """Backoff for each watch whose statements fail, so that it holds up neither the other watches nor the server.

    `clock` is monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._backoffs: dict[int, Backoff] = {}  # by watch
        self._retry_at: dict[int, float] = {}

    def record_failure(self, watch_id: int) -> float:
        """Starts a backoff, twice as long for each failure in a row. Returns its seconds."""
        delay_s = self._backoffs.setdefault(watch_id, Backoff(FIRST_WATCH_RETRY_S, LAST_WATCH_RETRY_S)).next_s()
        self._retry_at[watch_id] = self._clock() + delay_s
        return delay_s

    def record_success(self, watch_id: int) -> None:
        """Ends the backoff of the watch."""
        self._backoffs.pop(watch_id, None)
        self._retry_at.pop(watch_id, None)

    def is_waiting(self, watch_id: int) -> bool:
        """Whether nothing is claimed from the watch yet."""
        return self._clock() < self._retry_at.get(watch_id, float("-inf"))
