"""The metrics of a service that runs, with the labels they have, whether anything was counted yet or not."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def series_of(registry: CollectorRegistry) -> dict[str, frozenset[str]]:
    """Name of a series, as Prometheus stores it → its labels, without job and instance."""
    series: dict[str, frozenset[str]] = {}
    for collector in list(registry._collector_to_names):
        for family, labels in _families(collector):
            for suffix in _SUFFIXES[family.type]:
                le = {"le"} if suffix == "_bucket" else set()
                series[family.name + suffix] = frozenset(labels) | le
    return series


def _families(collector: Collector) -> Iterator[tuple[Metric, tuple[str, ...]]]:
    describe = getattr(collector, "describe", collector.collect)
    for family in describe():
        labels = (
            collector._labelnames if isinstance(collector, MetricWrapperBase) else getattr(family, "_labelnames", ())
        )
        yield family, tuple(labels)
