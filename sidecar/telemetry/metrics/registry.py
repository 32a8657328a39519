"""Every metric of the service, in a registry of its own, and the page that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from sidecar.telemetry.cache_metrics import CacheMetrics
from sidecar.telemetry.decoder_metrics import DecoderMetrics
from sidecar.telemetry.metrics.device import DeviceMetrics
from sidecar.telemetry.metrics.http import HttpMetrics
from sidecar.telemetry.metrics.ingest import IngestMetrics
from sidecar.telemetry.metrics.lanes import LaneMetrics
from sidecar.telemetry.metrics.process import ProcessMetrics
from sidecar.telemetry.metrics.watches import WatchMetrics
from sidecar.telemetry.stage_metrics import StageMetrics


class Metrics:
    """Names follow Prometheus: base units, `_total` for counters. No label takes what a client sends."""

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
        self.process = ProcessMetrics(self.registry)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """The page and its media type: OpenMetrics for those who ask for it, else Prometheus's text.

        Takes some 5 µs a line: any thread may call it, and the event loop's should not.
        """
        encode, media_type = choose_encoder(accept)
        return encode(_Shown(self.registry)), media_type


class _Shown(Collector):
    """Without `…_created`: when each series began is a second series for each, and nobody asks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
