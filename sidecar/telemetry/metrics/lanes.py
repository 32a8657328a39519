"""Metrics of work before it is on the device: depth of the lanes, durations of the stages, hits of the query cache."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge

from sidecar.telemetry.metrics.instruments import DURATION_BUCKETS_S, BoundedLabel, BulkHistogram, PreinitialisedCounter

_LANES = ("query", "rerank", "ingest", "backfill")
_MAX_OPERATIONS = 32


class LaneMetrics:
    """Depth of each lane, and what was rejected or dropped. Counts pairs in the lane `rerank`, views in the others."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, documentation: str) -> Gauge:
            return Gauge(name, documentation, ["lane"], registry=registry)

        self._waiting = gauge("sidecar_lane_waiting_views", "Views or pairs waiting for the device.")
        self._reserved = gauge("sidecar_lane_reserved_views", "Views or pairs reserved for inputs in preparation.")
        self._running = gauge("sidecar_lane_running_views", "Views or pairs in the micro-batch on the device.")
        self._capacity = gauge("sidecar_lane_capacity_views", "Views or pairs that may wait.")
        self.refused = PreinitialisedCounter(
            "sidecar_refused_requests_total",
            "Requests refused because a lane, or the memory for request bodies (lane uploads), was full.",
            *("lane", (*_LANES, "uploads"), registry),
        )
        self.dropped = PreinitialisedCounter(
            "sidecar_dropped_jobs_total",
            "Jobs dropped before the device had all of them: the caller disconnected or the deadline passed.",
            *("lane", _LANES, registry),
        )

    def set_depth(self, lane: str, *, waiting: int, reserved: int, running: int, capacity: int) -> None:
        self._waiting.labels(lane).set(waiting)
        self._reserved.labels(lane).set(reserved)
        self._running.labels(lane).set(running)
        self._capacity.labels(lane).set(capacity)


class StageMetrics:
    """Durations by stage and lane; those of the database by operation too."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._stages = BulkHistogram(
            "sidecar_stage_duration_seconds",
            "Time that work spends in each stage: prepare, decode, queue, device, database.",
            ["stage", "lane"],
            DURATION_BUCKETS_S,
            registry,
        )
        self._operations = BulkHistogram(
            "sidecar_database_operation_duration_seconds",
            "Duration of an operation on the database, including the wait for a connection.",
            ["operation"],
            DURATION_BUCKETS_S,
            registry,
        )
        self._operation = BoundedLabel(_MAX_OPERATIONS)

    def stage_done(self, stage: str, lane: str, duration_s: float, times: int = 1) -> None:
        self._stages.observe((stage, lane), duration_s, times)

    def stages_done(self, stage: str, lane: str, durations_s: Sequence[float]) -> None:
        self._stages.observe_all((stage, lane), durations_s)

    def operation_done(self, operation: str, duration_s: float) -> None:
        self._operations.observe((self._operation(operation),), duration_s)


class CacheMetrics:
    """The query cache: vectors of texts embedded before."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lookups = PreinitialisedCounter(
            "sidecar_query_cache_lookups_total",
            "Lookups of query texts in the cache, by result.",
            *("result", ("hit", "miss"), registry),
        )
        self._bytes = Gauge("sidecar_query_cache_bytes", "Memory used by cached vectors.", registry=registry)

    def record_lookups(self, hits: int, misses: int) -> None:
        self._lookups.inc("hit", hits)
        self._lookups.inc("miss", misses)

    def set_bytes(self, held_bytes: int) -> None:
        self._bytes.set(held_bytes)
