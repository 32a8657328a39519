"""Counts and latency quantiles of the last minutes, hours or days, in bounded memory.

Durations are counted in buckets that grow by a tenth: quantiles are right to 5 %, whatever the scale.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

SLOTS = 60  # of a window
_SMALLEST_S, _LARGEST_S = 1e-4, 1e6
_GROWTH = 1.1
_LOG_GROWTH = math.log(_GROWTH)
_BUCKETS = math.ceil(math.log(_LARGEST_S / _SMALLEST_S) / _LOG_GROWTH) + 2  # with one below and one above
_LOOP_UP_TO = 23  # durations; a loop is faster than numpy up to here

# Bucket → number of durations; a missing bucket has none.
DurationCounts: TypeAlias = dict[int, int]


@dataclass(slots=True)
class Tally:
    """Good and bad events, and the durations of those that had one."""

    good: int = 0
    bad: int = 0
    durations: DurationCounts = field(default_factory=dict)

    @property
    def events(self) -> int:
        return self.good + self.bad

    def add(self, good: int, bad: int, durations: DurationCounts) -> None:
        self.good += good
        self.bad += bad
        for bucket, count in durations.items():
            self.durations[bucket] = self.durations.get(bucket, 0) + count


class RollingWindow:
    """A tally of the last `window_s`. It moves in steps of a sixtieth: an event may leave one step early.

    All `now_s` come from one monotonic clock.
    """

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self._step_s = window_s / SLOTS
        self._tallies: dict[int, Tally] = {}  # by step; at most SLOTS of them

    def add(self, now_s: float, good: int, bad: int, durations: DurationCounts) -> None:
        step = self._step(now_s)
        tally = self._tallies.get(step)
        if tally is None:
            self._drop_expired(step)
            tally = self._tallies[step] = Tally()
        tally.add(good, bad, durations)

    def total(self, now_s: float) -> Tally:
        """The tally of all events still in the window."""
        self._drop_expired(self._step(now_s))
        total = Tally()
        for tally in self._tallies.values():
            total.add(tally.good, tally.bad, tally.durations)
        return total

    def _step(self, now_s: float) -> int:
        return int(now_s // self._step_s)

    def _drop_expired(self, step: int) -> None:
        for old in [old for old in self._tallies if old <= step - SLOTS]:
            del self._tallies[old]


def bucket_of(duration_s: float) -> int:
    """The index of the duration's bucket: 0 for all below 0.1 ms, the last one for all above 11 days."""
    if duration_s < _SMALLEST_S:
        return 0
    return min(int(math.log(duration_s / _SMALLEST_S) / _LOG_GROWTH) + 1, _BUCKETS - 1)


def count_durations(durations_s: Sequence[float]) -> DurationCounts:
    """The number of durations in each bucket."""
    if len(durations_s) <= _LOOP_UP_TO:
        return Counter(map(bucket_of, durations_s))
    scaled = np.maximum(np.asarray(durations_s, np.float64), _SMALLEST_S / 2) / _SMALLEST_S
    buckets = np.clip(np.floor(np.log(scaled) / _LOG_GROWTH) + 1, 0, _BUCKETS - 1).astype(np.int64)
    found, counts = np.unique(buckets, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def quantile_s(counts: DurationCounts, quantile: float) -> float | None:
    """The duration that a share of `quantile` does not exceed; None without durations."""
    rank = max(math.ceil(quantile * sum(counts.values())), 1)
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= rank:
            return _middle_s(bucket)
    return None


def _middle_s(bucket: int) -> float:
    """The geometric mean of the bucket's bounds."""
    return _SMALLEST_S * float(_GROWTH ** (bucket - 0.5)) if bucket else _SMALLEST_S
