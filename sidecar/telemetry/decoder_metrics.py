"""The processes that decode pictures."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class DecoderMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._alive = Gauge("sidecar_decoder_processes", "Decoder processes that live.", registry=registry)
        self._wanted = Gauge("sidecar_decoder_processes_wanted", "As many as there should be.", registry=registry)
        self.restarts = Counter(
            "sidecar_decoder_restarts_total",
            "Decoder processes that took the place of one that crashed, was too slow, or whose caller went.",
            registry=registry,
        )

    def show(self, alive: int, wanted: int) -> None:
        self._alive.set(alive)
        self._wanted.set(wanted)
