"""What one replica reports for autoscaling: the rows per second that are called for, and those that it does."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from sidecar.postgres.status import WatchStatus
from sidecar.ray.autoscaling import UNKNOWN

_WINDOW_S = 60.0
_SCANNING = ("backfilling", "moving vectors", "clearing old vectors", "verifying")


def needed_rows_per_s(watches: Iterable[WatchStatus], backlog_s: float, lag_s: float) -> float:
    """The rows per second with which backfills end within `backlog_s`, and changes are embedded within `lag_s`.

    Only rows count that more replicas could do: none of a watch that is broken, paused or waits for another model, none
    that failed and wait to be tried again, and of a watch with a rate cap no more than that.
    """
    return sum(_needed_of(watch, backlog_s if watch.state.startswith(_SCANNING) else lag_s) for watch in watches)


def _needed_of(watch: WatchStatus, within_s: float) -> float:
    if watch.is_blocked:
        return 0.0
    needed = max((watch.pending or 0) - watch.retrying, 0) / within_s
    return needed if watch.rows_per_s is None else min(needed, watch.rows_per_s)


class RateMeter:
    """Rows per second of this process over the last minute, of the time in which there was work.

    UNKNOWN until rows were done. 0 once there has been work for a whole minute of which nothing came.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()  # since there is work
        self._last = UNKNOWN

    def add(self, rows_done: int, *, has_work: bool) -> float:
        """Records the number of rows done so far, and returns the rate."""
        if not has_work:
            self._samples.clear()
            return self._last
        now = self._clock()
        self._samples.append((now, rows_done))
        while len(self._samples) > 2 and self._samples[1][0] <= now - _WINDOW_S:
            self._samples.popleft()
        began, before = self._samples[0]
        if rows_done > before:
            self._last = (rows_done - before) / (now - began)
        elif now - began >= _WINDOW_S:
            self._last = 0.0
        return self._last
