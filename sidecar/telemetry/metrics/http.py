"""Metrics of requests: durations, those in flight, and memory reserved for their bodies."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge

from sidecar.telemetry.metrics.instruments import DURATION_BUCKETS_S, OTHER, BulkHistogram


class HttpMetrics:
    """Metrics of requests. The label `route` takes only documented routes: a client cannot create series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._durations = BulkHistogram(
            "sidecar_http_request_duration_seconds",
            "Time from a request's headers to the last byte of its answer. Status 499: the client disconnected first.",
            ["route", "method", "status"],
            DURATION_BUCKETS_S,
            registry,
        )
        self.in_flight = Gauge("sidecar_http_requests_in_flight", "Requests in progress.", registry=registry)
        self._uploads = Gauge("sidecar_http_uploads_bytes", "Memory reserved for request bodies.", registry=registry)
        self._uploads_capacity = Gauge(
            "sidecar_http_uploads_capacity_bytes",
            "Memory available for request bodies (MAX_UPLOADS_BYTES).",
            registry=registry,
        )

    def track_uploads(self, held_bytes: Callable[[], int], max_bytes: int) -> None:
        """`held_bytes` is called at each scrape."""
        self._uploads.set_function(held_bytes)
        self._uploads_capacity.set(max_bytes)

    def request_done(self, route: str, method: str, status: int, duration_s: float) -> None:
        labels = route, method, str(status) if 100 <= status < 600 else OTHER
        self._durations.observe(labels, duration_s)
