"""Metrics of the progress of each watch, as last read from the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sidecar.telemetry.metrics.instruments import MAX_WATCHES, OTHER

STALE_AFTER_S = 600.0


@dataclass(frozen=True, slots=True)
class WatchReading:
    """Progress of one watch. None: unknown. `coverage` and `recall` are from 0 to 1."""

    watch: str
    embedded: int
    pending: int | None
    failed: int
    empty: int
    coverage: float | None
    oldest_pending_s: float | None
    broken: bool
    paused: bool
    rows_per_s: float | None
    recall: float | None = None


_GAUGES: tuple[tuple[str, str, Callable[[WatchReading], float | None]], ...] = (
    ("pending_rows", "Rows waiting to be embedded, or to be embedded again.", lambda w: w.pending),
    (
        "oldest_pending_seconds",
        "How long the oldest pending row has been waiting; 0 if there is none.",
        lambda w: w.oldest_pending_s,
    ),
    ("failed_rows", "Rows that cannot be embedded; sidecar.failures says why.", lambda w: w.failed),
    ("embedded_rows", "Rows with a vector.", lambda w: w.embedded),
    ("empty_rows", "Rows with nothing to embed.", lambda w: w.empty),
    ("coverage_ratio", "Fraction of the rows with content that have a vector.", lambda w: w.coverage),
    ("broken", "1: the watch is broken and skipped until it is repaired; sidecar.status says why.", lambda w: w.broken),
    ("paused", "1: the watch is paused.", lambda w: w.paused),
    ("rate_cap_rows_per_second", "The rate cap of the watch, shared by all sidecars.", lambda w: w.rows_per_s),
    (
        "index_recall_ratio",
        "Fraction of the nearest rows that the index finds with the database's own settings, as last measured.",
        lambda w: w.recall,
    ),
)


class WatchMetrics(Collector):
    """Gauges of the latest readings. Stale ones are left out: a database that is down must not look like one without a
    backlog.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        max_watches: int = MAX_WATCHES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_watches = max_watches
        self._clock = clock
        self._up: bool | None = None  # not read yet
        self._read_at = 0.0
        self._readings: Sequence[WatchReading] = ()
        registry.register(self)

    def set_readings(self, readings: Sequence[WatchReading]) -> None:
        """Readings taken just now. Watches beyond the maximum are added up as `other`."""
        shown, rest = readings[: self._max_watches], readings[self._max_watches :]
        self._readings = [*shown, _sum_up(rest)] if rest else shown
        self._read_at = self._clock()
        self._up = True

    def set_database_down(self) -> None:
        self._up = False

    def describe(self) -> Iterator[Metric]:
        return self._families((), None, None)

    def collect(self) -> Iterator[Metric]:
        age_s = self._clock() - self._read_at if self._up else None
        fresh = age_s is not None and age_s <= STALE_AFTER_S
        return self._families(self._readings if fresh else (), self._up, age_s)

    def _families(
        self, readings: Sequence[WatchReading], up: bool | None, age_s: float | None
    ) -> Iterator[GaugeMetricFamily]:
        yield _single("sidecar_database_up", "1: the watches were read from the database; 0: that failed.", up)
        yield _single("sidecar_database_reading_age_seconds", "Age of the figures in sidecar_watch_*.", age_s)
        for name, documentation, value_of in _GAUGES:
            family = GaugeMetricFamily(f"sidecar_watch_{name}", documentation, labels=["watch"])
            for reading in readings:
                value = value_of(reading)
                if value is not None:
                    family.add_metric([reading.watch], value)
            yield family


def _single(name: str, documentation: str, value: float | None) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation)
    if value is not None:
        family.add_metric([], value)
    return family


def _sum_up(readings: Sequence[WatchReading]) -> WatchReading:
    return WatchReading(
        watch=OTHER,
        embedded=sum(w.embedded for w in readings),
        pending=sum(w.pending or 0 for w in readings),
        failed=sum(w.failed for w in readings),
        empty=sum(w.empty for w in readings),
        coverage=None,
        oldest_pending_s=max(w.oldest_pending_s or 0 for w in readings),
        broken=any(w.broken for w in readings),
        paused=all(w.paused for w in readings),
        rows_per_s=None,
        recall=None,
    )
