"""The process itself: what it is, whether it is ready, and how long its event loop keeps others waiting."""

from __future__ import annotations

import asyncio
import platform

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector

from sidecar import __version__
from sidecar.telemetry.buckets import DURATION_BUCKETS_S

_LOOK_EVERY_S = 0.5


class ProcessMetrics:
    """With `process_cpu_seconds_total`, `process_resident_memory_bytes` and the like, on Linux."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ProcessCollector(registry=registry)
        build = Gauge("sidecar_build_info", "1 for this version.", ["version", "python"], registry=registry)
        build.labels(__version__, platform.python_version()).set(1)
        self.ready = Gauge("sidecar_ready", "1: queries can be embedded, as /readyz says.", registry=registry)
        self._loop_lag = Histogram(
            "sidecar_event_loop_lag_seconds",
            "How much later than it should the event loop wakes, looked at twice a second.",
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )

    async def watch_event_loop(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_at = loop.time() + _LOOK_EVERY_S
            await asyncio.sleep(_LOOK_EVERY_S)
            self._loop_lag.observe(max(loop.time() - due_at, 0.0))
