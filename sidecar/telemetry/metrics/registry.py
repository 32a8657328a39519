"""All metrics of the service in a registry of their own, and the page that Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from sidecar.telemetry.metrics.device import DeviceMetrics
from sidecar.telemetry.metrics.http import HttpMetrics
from sidecar.telemetry.metrics.ingest import IngestMetrics
from sidecar.telemetry.metrics.lanes import CacheMetrics, LaneMetrics, StageMetrics
from sidecar.telemetry.metrics.process import DecoderMetrics, ProcessMetrics
from sidecar.telemetry.metrics.replica import ReplicaMetrics
from sidecar.telemetry.metrics.sql_queries import SqlQueryMetrics
from sidecar.telemetry.metrics.watches import WatchMetrics


class Metrics:
    """All metrics. Names follow Prometheus: base units, `_total` for counters. No label takes what a client sends."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.http = HttpMetrics(self.registry)
        self.stages = StageMetrics(self.registry)
        self.lanes = LaneMetrics(self.registry)
        self.cache = CacheMetrics(self.registry)
        self.device = DeviceMetrics(self.registry)
        self.decoders = DecoderMetrics(self.registry)
        self.ingest = IngestMetrics(self.registry)
        self.watches = WatchMetrics(self.registry)
        self.sql_queries = SqlQueryMetrics(self.registry)
        self.replica = ReplicaMetrics(self.registry)
        self.process = ProcessMetrics(self.registry)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """The page and its media type: OpenMetrics if `accept` asks for it, else Prometheus's text format.

        Takes some 5 µs a line, so call it in a thread other than the event loop's; any may.
        """
        encode, media_type = choose_encoder(accept)
        return encode(_WithoutCreated(self.registry)), media_type


class _WithoutCreated(Collector):
    """The registry without `…_created` samples, which double the number of series for a start time each."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
