"""What the probes and `/status` answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sidecar.batching.lane_queue import LaneDepth
from sidecar.http.service import ServedModel
from sidecar.postgres.status import WatchStatus
from sidecar.telemetry.objectives import ObjectiveReport

_FROZEN = ConfigDict(frozen=True)


class LiveAnswer(BaseModel):
    model_config = _FROZEN

    status: Literal["alive"] = "alive"


class ReadyAnswer(BaseModel):
    model_config = _FROZEN

    status: Literal["ready"] = "ready"


class HealthAnswer(BaseModel):
    model_config = _FROZEN

    status: Literal["ok"] = "ok"
    detail: str = Field(description="`ready`, or why not.")
    ready: bool
    version: str
    model: ServedModel | None = Field(description="Null until it is loaded.")
    ingest: str = Field(description="`running`, `starting`, `stopping`, `ending` or `off: …` with the reason.")
    uptime_s: float


class StatusAnswer(BaseModel):
    model_config = _FROZEN

    status: str = Field(description="`ready`, or why not.")
    version: str
    model: ServedModel | None = Field(description="Null until it is loaded.")
    lanes: Mapping[str, LaneDepth] = Field(description="By name; empty until the model is loaded.")
    ingest: str = Field(description="`running`, `starting`, `stopping`, `ending` or `off: …` with the reason.")
    rerank: str = Field(
        description="`off`, `not loaded yet`, `loading`, `loaded`, `failed: …` (to load) or `failing: …` (to score)."
    )
    database: Literal["none", "ok", "unavailable"]
    database_detail: str | None
    watches: Sequence[WatchStatus] | None = Field(description="Null while the database does not tell.")
    objectives: Mapping[str, ObjectiveReport]
