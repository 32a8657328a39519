"""How long work stays in each stage on its way."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from sidecar.telemetry.bounded_label import BoundedLabel
from sidecar.telemetry.buckets import DURATION_BUCKETS_S
from sidecar.telemetry.metrics.instruments import BulkHistogram

_MAX_OPERATIONS = 32


class StageMetrics:
    """By stage and lane; what goes to the database also by operation."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._stages = BulkHistogram(
            "sidecar_stage_duration_seconds",
            "Time that work spends in a stage: prepare, decode, queue, device, database.",
            ["stage", "lane"],
            DURATION_BUCKETS_S,
            registry,
        )
        self._operations = BulkHistogram(
            "sidecar_database_operation_duration_seconds",
            "Time that an operation on the database takes, with the wait for a connection.",
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
