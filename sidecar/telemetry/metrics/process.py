"""Metrics of the process and its children: version, readiness, lag of the event loop, decoder processes."""

from __future__ import annotations

import asyncio
import platform

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from sidecar import __version__
from sidecar.telemetry.metrics.instruments import DURATION_BUCKETS_S

_LAG_INTERVAL_S = 0.5


class ProcessMetrics:
    """Metrics of this process. On Linux also `process_cpu_seconds_total`, `process_resident_memory_bytes` and so on."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ProcessCollector(registry=registry)
        build = Gauge(
            "sidecar_build_info", "Always 1; the labels name the version.", ["version", "python"], registry=registry
        )
        build.labels(__version__, platform.python_version()).set(1)
        self.ready = Gauge("sidecar_ready", "1: queries can be embedded, as reported by /readyz.", registry=registry)
        self._loop_lag = Histogram(
            "sidecar_event_loop_lag_seconds",
            "How late the event loop wakes up, measured twice a second.",
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )

    async def measure_loop_lag(self) -> None:
        """Measures the lag of the event loop until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_at = loop.time() + _LAG_INTERVAL_S
            await asyncio.sleep(_LAG_INTERVAL_S)
            self._loop_lag.observe(max(loop.time() - due_at, 0.0))


class DecoderMetrics:
    """The child processes that decode pictures."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._alive = Gauge("sidecar_decoder_processes", "Decoder processes that are running.", registry=registry)
        self._wanted = Gauge(
            "sidecar_decoder_processes_wanted", "Decoder processes that should be running.", registry=registry
        )
        self.restarts = Counter(
            "sidecar_decoder_restarts_total",
            "Decoder processes restarted after a crash, a timeout or a cancelled request.",
            registry=registry,
        )

    def set_processes(self, alive: int, wanted: int) -> None:
        self._alive.set(alive)
        self._wanted.set(wanted)
