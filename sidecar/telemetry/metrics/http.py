"""Metrics of requests: durations, those in flight, and memory reserved for their bodies."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from sidecar.telemetry.metrics.instruments import (
    DURATION_BUCKETS_S,
    OTHER,
    BoundedLabel,
    BulkHistogram,
    PreinitialisedCounter,
)

DENIALS = (
    *("missing_key", "invalid_key", "forbidden_scope", "forbidden_table", "filter_not_applicable", "rate_limited"),
    *("quota_used_up", "no_keys", "untrusted_host", "untrusted_origin"),
)
_MAX_KEYS = 1000


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
        self._key_names = BoundedLabel(_MAX_KEYS)
        self.in_flight = Gauge("sidecar_http_requests_in_flight", "Requests in progress.", registry=registry)
        self._uploads = Gauge("sidecar_http_uploads_bytes", "Memory reserved for request bodies.", registry=registry)
        self._uploads_capacity = Gauge(
            "sidecar_http_uploads_capacity_bytes",
            "Memory available for request bodies (MAX_UPLOADS_BYTES).",
            registry=registry,
        )

        self._denied = PreinitialisedCounter(
            "sidecar_http_access_denied_total",
            "Requests refused for their key or its limits, by reason, the code of the answer.",
            *("reason", DENIALS, registry),
        )
        self._denied_by_key = Counter(
            "sidecar_http_access_denied_by_key_total",
            "Those of keys with a name, by name and reason.",
            ["key", "reason"],
            registry=registry,
        )

    def access_denied(self, reason: str, key: str) -> None:
        self._denied.inc(reason)
        if key:
            self._denied_by_key.labels(self._key_names(key), reason).inc()

    def track_uploads(self, held_bytes: Callable[[], int], max_bytes: int) -> None:
        """`held_bytes` is called at each scrape."""
        self._uploads.set_function(held_bytes)
        self._uploads_capacity.set(max_bytes)

    def request_done(self, route: str, method: str, status: int, duration_s: float) -> None:
        labels = route, method, str(status) if 100 <= status < 600 else OTHER
        self._durations.observe(labels, duration_s)
