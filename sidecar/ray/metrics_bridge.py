"""Copies the metrics of a replica into Ray's, which Prometheus scrapes from each node.

Behind Serve's proxies a scrape of /metrics would reach some replica, another one each time. Ray adds `ray_` before each
name, and labels that tell replicas apart. Every series becomes a gauge, counters and buckets too: PromQL looks at
names only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry
from ray.serve.metrics import Gauge

INTERVAL_S = 10.0


class MetricsBridge:
    """Copies all samples of `registry` every ten seconds, after `refresh`."""

    def __init__(self, registry: CollectorRegistry, refresh: Callable[[], Awaitable[None]]) -> None:
        self._registry = registry
        self._refresh = refresh
        self._gauges: dict[str, Gauge] = {}

    async def run(self) -> None:
        """Copies until cancelled."""
        while True:
            await self._refresh()
            self.copy()
            await asyncio.sleep(INTERVAL_S)

    def copy(self) -> None:
        """Sets the gauge of each sample to its present value."""
        for family in self._registry.collect():
            for sample in family.samples:
                if sample.name.endswith("_created"):
                    continue
                gauge = self._gauges.get(sample.name)
                if gauge is None:
                    gauge = Gauge(sample.name, family.documentation, tag_keys=tuple(sample.labels))
                    self._gauges[sample.name] = gauge
                gauge.set(sample.value, tags=dict(sample.labels))
