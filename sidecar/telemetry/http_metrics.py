"""What is counted of requests."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, Histogram

from sidecar.telemetry.buckets import DURATION_BUCKETS_S


class HttpMetrics:
    """Routes are those of the documentation, so a client cannot make new ones up."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._durations = Histogram(
            "sidecar_http_request_duration_seconds",
            "Time from the head of a request to the last byte of its answer. Status 499: the client went first.",
            ["route", "method", "status"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self.in_flight = Gauge(
            "sidecar_http_requests_in_flight", "Requests that are being answered.", registry=registry
        )

    def request_done(self, route: str, method: str, status: int, duration_s: float) -> None:
        self._durations.labels(route, method, status if 100 <= status < 600 else "other").observe(duration_s)
