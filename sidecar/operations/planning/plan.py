"""The plan of a watch: what it takes in time, disk and memory, computed from a survey of its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from sidecar.operations.planning.estimate import (
    DEFAULT_CONTEXT_LENGTH,
    DeviceTime,
    Estimate,
    Target,
    count_long_texts,
    estimate,
    time_on_devices,
)
from sidecar.operations.planning.index_memory import IndexMemory, index_memory
from sidecar.operations.planning.server_memory import ServerMemory
from sidecar.operations.planning.survey import Survey
from sidecar.pictures.views.plan import plan_views
from sidecar.pictures.views.settings import ViewSettings

DEFAULT_NATIVE_SIZE = 384  # of the default model
DEFAULT_PICTURE_SIZE = (640, 480)  # if no sampled picture's size can be read


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What a plan takes for given of model and device. `views_per_s`: None for what running sidecars measured."""

    model_id: str
    dimensions: int
    views: ViewSettings
    has_companion: bool
    views_per_s: float | None = None
    context_length: int = DEFAULT_CONTEXT_LENGTH


@dataclass(frozen=True, slots=True)
class Plan:
    """`views_per_s`: None while no sidecar has measured it. `sampled_pictures`: those whose sizes could be read."""

    survey: Survey
    expected: Estimate
    views_per_s: float | None
    memory: IndexMemory | None
    devices: list[DeviceTime]
    sampled_pictures: int
    context_length: int

    def facts(self) -> dict[str, Any]:
        """As `sidecar plan --json` and `POST /plan` give it."""
        survey = self.survey
        return {
            "relation": survey.table.name,
            "target": survey.target,
            "kind": survey.kind,
            "storage": survey.storage,
            "index": survey.index,
            "rows": survey.table.rows,
            "estimated": survey.table.estimated,
            "sampled_rows": len(survey.sample.sizes),
            "sampled_pictures": self.sampled_pictures,
            "sampled_long_texts": self._count_long_texts(),
            "views_per_s": self.views_per_s,
            **asdict(self.expected),
            "disk_bytes": self.expected.disk_bytes,
            "headroom_bytes": self.expected.headroom_bytes,
            "index_memory": self.memory,
            "typical_devices": self.devices,
            "migrated": survey.is_migrated,
            "refusal": survey.refusal,
        }

    def _count_long_texts(self) -> int | None:
        if self.survey.kind != "text":
            return None
        return count_long_texts(self.survey.sample.sizes, self.context_length)


def make_plan(survey: Survey, sizes: Sequence[tuple[int, int]], server: ServerMemory, assumptions: Assumptions) -> Plan:
    """`sizes`: width and height of those sampled pictures whose size could be read."""
    views_per_s = survey.views_per_s if assumptions.views_per_s is None else assumptions.views_per_s
    target = Target(
        assumptions.dimensions, survey.storage, survey.index, survey.table.heap_bytes, assumptions.has_companion
    )
    views_per_row = 1.0 if survey.kind == "text" else _views_per_picture(sizes, assumptions.views)
    expected = estimate(survey.table.rows, survey.sample.sizes, views_per_row, target, views_per_s)
    return Plan(
        survey,
        expected,
        views_per_s,
        index_memory(expected, target, server),
        time_on_devices(expected.views, survey.kind, assumptions.model_id),
        len(sizes),
        assumptions.context_length,
    )


def _views_per_picture(sizes: Sequence[tuple[int, int]], settings: ViewSettings) -> float:
    """The mean over the pictures, or of one of default size."""
    return fmean(len(plan_views(*size, settings).views) for size in sizes or [DEFAULT_PICTURE_SIZE])
