"""Every metric of the service, in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

# 1 ms to 60 s.
DURATION_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
VIEW_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Names follow Prometheus: a unit at the end, `_total` for counters. No label takes what a client sends."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.stage_seconds = Histogram(
            "sidecar_stage_duration_seconds",
            "Time that work spends in a stage: prepare, decode, queue, device, database.",
            ["stage", "lane"],
            buckets=DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self.micro_batch_views = Histogram(
            "sidecar_micro_batch_views",
            "Views or pairs in a micro-batch.",
            ["kind"],
            buckets=VIEW_BUCKETS,
            registry=self.registry,
        )
        self.query_cache_lookups = Counter(
            "sidecar_query_cache_lookups_total", "Query texts looked up, by result.", ["result"], registry=self.registry
        )
        self.duplicates = Counter(
            "sidecar_duplicate_views_total",
            "Views that were not encoded because the same one was in the micro-batch.",
            ["kind"],
            registry=self.registry,
        )
        self.refusals = Counter(
            "sidecar_refused_requests_total",
            "Requests refused because a queue was full.",
            ["lane"],
            registry=self.registry,
        )
        self.dropped = Counter(
            "sidecar_dropped_jobs_total",
            "Jobs whose caller went or whose deadline passed before the device had all of them.",
            ["lane"],
            registry=self.registry,
        )
        self.out_of_memory = Counter(
            "sidecar_device_out_of_memory_total", "Micro-batches that did not fit.", ["kind"], registry=self.registry
        )
