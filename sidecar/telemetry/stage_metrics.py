"""How long work stays in each stage on its way."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram

from sidecar.telemetry.bounded_label import BoundedLabel
from sidecar.telemetry.buckets import DURATION_BUCKETS_S

_MAX_OPERATIONS = 32


class StageMetrics:
    """By stage and lane; what goes to the database also by operation."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._stages = Histogram(
            "sidecar_stage_duration_seconds",
            "Time that work spends in a stage: prepare, decode, queue, device, database.",
            ["stage", "lane"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self._operations = Histogram(
            "sidecar_database_operation_duration_seconds",
            "Time that an operation on the database takes, with the wait for a connection.",
            ["operation"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self._operation = BoundedLabel(_MAX_OPERATIONS)

    def stage_done(self, stage: str, lane: str, duration_s: float) -> None:
        self._stages.labels(stage, lane).observe(duration_s)

    def operation_done(self, operation: str, duration_s: float) -> None:
        self._operations.labels(self._operation(operation)).observe(duration_s)
