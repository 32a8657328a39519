"""A histogram that takes the values of a whole batch at once.

Measured: prometheus_client's own takes 1.4 µs for a value of a labelled series, and has no way to take many; this one
takes 0.6 µs for one and 0.04 µs each for many. Ingest has 25,000 of them a second.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_FEW = 8  # up to here one by one is quicker


@dataclass(slots=True)
class _Series:
    counts: list[int]  # by bucket, the last one without an upper border; not cumulative
    sum: float = 0.0


class BulkHistogram(Collector):
    """Any thread may observe or collect. Label values are given in the order of `labels`."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._borders = tuple(buckets)
        self._border_names = [*map(floatToGoString, buckets), "+Inf"]
        self._series: dict[tuple[str, ...], _Series] = {}
        self._lock = threading.Lock()
        registry.register(self)

    def observe(self, label_values: tuple[str, ...], value: float, times: int = 1) -> None:
        place = bisect_left(self._borders, value)  # a value on a border belongs below it
        with self._lock:
            series = self._series_of(label_values)
            series.counts[place] += times
            series.sum += value * times

    def observe_all(self, label_values: tuple[str, ...], values: Sequence[float]) -> None:
        """Nothing happens for no values."""
        if len(values) <= _FEW:
            for value in values:
                self.observe(label_values, value)
            return
        counts = np.bincount(np.searchsorted(self._borders, values), minlength=len(self._border_names)).tolist()
        with self._lock:
            series = self._series_of(label_values)
            series.counts = [before + new for before, new in zip(series.counts, counts, strict=True)]
            series.sum += sum(values)

    def forget(self, label_values: tuple[str, ...]) -> None:
        with self._lock:
            self._series.pop(label_values, None)

    def describe(self) -> Iterator[Metric]:
        yield HistogramMetricFamily(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        with self._lock:
            copies = [(values, list(accumulate(series.counts)), series.sum) for values, series in self._series.items()]
        for values, cumulative, total in copies:
            family.add_metric(values, list(zip(self._border_names, cumulative, strict=True)), total)
        yield family

    def _series_of(self, label_values: tuple[str, ...]) -> _Series:
        series = self._series.get(label_values)
        if series is None:
            series = self._series[label_values] = _Series([0] * len(self._border_names))
        return series
