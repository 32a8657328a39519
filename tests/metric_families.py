"""The metric families of a registry, also of metrics that have no samples yet."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric


def metric_families(registry: CollectorRegistry) -> Iterator[tuple[Metric, tuple[str, ...]]]:
    """Each family with the names of its labels."""
    for collector in list(registry._collector_to_names):
        for family in getattr(collector, "describe", collector.collect)():
            labels = getattr(collector, "_labelnames", ()) or getattr(family, "_labelnames", ())
            yield family, tuple(labels)
