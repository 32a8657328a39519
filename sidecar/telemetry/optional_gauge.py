"""A gauge that says nothing while nothing is known."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class OptionalGauge(Collector):
    """Without labels. A 0 that only means "not here" would set off alerts."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self._value: float | None = None
        registry.register(self)

    def set(self, value: float | None) -> None:
        self._value = value

    def describe(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(self._name, self._documentation)

    def collect(self) -> Iterator[Metric]:
        value = self._value
        family = GaugeMetricFamily(self._name, self._documentation)
        if value is not None:
            family.add_metric([], value)
        yield family
