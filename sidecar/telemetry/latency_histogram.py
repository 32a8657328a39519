"""Durations, counted in buckets that grow by a tenth: quantiles are right to 5 %, whatever the scale."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

SMALLEST_S, LARGEST_S = 1e-4, 1e6
_GROWTH = 1.1
_LOG_GROWTH = math.log(_GROWTH)
_WORTH_NUMPY = 24
# Below the smallest, the buckets, and above the largest.
BUCKETS = math.ceil(math.log(LARGEST_S / SMALLEST_S) / _LOG_GROWTH) + 2

# Bucket → how many; what is not in it has none.
Counts: TypeAlias = dict[int, int]


def bucket_of(duration_s: float) -> int:
    if duration_s < SMALLEST_S:
        return 0
    return min(int(math.log(duration_s / SMALLEST_S) / _LOG_GROWTH) + 1, BUCKETS - 1)


def count_durations(durations_s: Sequence[float]) -> Counts:
    """`bucket_of` each."""
    if len(durations_s) < _WORTH_NUMPY:
        return Counter(map(bucket_of, durations_s))
    scaled = np.maximum(np.asarray(durations_s, np.float64), SMALLEST_S / 2) / SMALLEST_S
    buckets = np.clip(np.floor(np.log(scaled) / _LOG_GROWTH) + 1, 0, BUCKETS - 1).astype(np.int64)
    found, counts = np.unique(buckets, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def quantile_s(counts: Counts, quantile: float) -> float | None:
    """The duration that a share of `quantile` of all do not exceed; None where there are none."""
    rank = math.ceil(quantile * sum(counts.values()))
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= max(rank, 1):
            return _middle_s(bucket)
    return None


def add_up(parts: Iterable[Counts]) -> Counts:
    total: Counts = {}
    for counts in parts:
        for bucket, count in counts.items():
            total[bucket] = total.get(bucket, 0) + count
    return total


def _middle_s(bucket: int) -> float:
    """Of the bucket's bounds, by ratio."""
    return SMALLEST_S * float(_GROWTH ** (bucket - 0.5)) if bucket else SMALLEST_S
