"""Endpoints for operators and balancers: /livez, /readyz, /healthz, /status and /metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

import sidecar
from sidecar.batching.devices import DeviceState
from sidecar.batching.lane_queue import LaneDepth
from sidecar.errors import DatabaseError, DatabaseUnavailable
from sidecar.http.body_models import AnswerModel
from sidecar.http.json_response import JsonResponse
from sidecar.http.models import ModelInfo
from sidecar.http.operation import Endpoint, MediaType, Operation, Scope
from sidecar.postgres.outage import Outage
from sidecar.postgres.reads import Reads
from sidecar.postgres.status import Health, WatchStatus, read_status
from sidecar.postgres.status_summary import summarize
from sidecar.readiness import Readiness
from sidecar.redaction import redact
from sidecar.telemetry.metrics.registry import Metrics
from sidecar.telemetry.objectives import ObjectiveReport, Objectives

_READ_WATCHES_TIMEOUT_S = 5.0
_DATABASE = "`none` (REST only), `ok`, `not tried yet`, or `gone since …, trying again`."

_SEARCH_DATABASE = (
    "State of `SEARCH_DATABASE_URL`: `none`, `not tried yet`, `ok: 0.0 s behind`, or why `/search` and `/status` read "
    "the primary."
)


class ProcessStatus(Protocol):
    """The running parts of the process; `sidecar.app` provides it."""

    @property
    def model(self) -> ModelInfo | None:
        """None until it is loaded."""
        ...

    @property
    def device_states(self) -> Sequence[DeviceState]:
        """Of all devices; empty until the model is loaded."""
        ...

    @property
    def lanes(self) -> Mapping[str, LaneDepth]:
        """By name of the lane; empty until the model is loaded."""
        ...

    @property
    def ingest(self) -> str:
        """`running`, `starting`, `waiting for the database`, `stopping`, `ending`, or `off: …` with the reason."""
        ...

    @property
    def rerank(self) -> str:
        """`off`, `not loaded yet`, `loading`, `loaded`, or `failed: …` or `failing: …` with the reason."""
        ...


class LiveAnswer(AnswerModel):
    status: Literal["alive"] = "alive"


class ReadyAnswer(AnswerModel):
    status: Literal["ready"] = "ready"
    devices_out: Mapping[str, str] | None = Field(
        default=None,
        description="The devices that do not work while others do, each with the reason. Absent while all work.",
    )


class HealthAnswer(AnswerModel):
    status: Literal["ok"] = "ok"
    detail: str = Field(description="`ready`, or the reason why not.")
    ready: bool
    version: str
    model: ModelInfo | None = Field(description="Null until the model is loaded.")
    ingest: str = Field(
        description="`running`, `starting`, `waiting for the database`, `stopping`, `ending` or `off: …`."
    )
    database: str = Field(description=_DATABASE)
    database_gone_since: datetime | None = Field(description="Null while the database can be used.")
    search_database: str = Field(description=_SEARCH_DATABASE)
    uptime_s: float


class StatusAnswer(AnswerModel):
    status: str = Field(description="`ready`, or the reason why not.")
    version: str
    model: ModelInfo | None = Field(description="Null until the model is loaded.")
    devices: Sequence[DeviceState] = Field(
        description="Each with what is wrong with it, null while it works. Empty until the model is loaded."
    )
    lanes: Mapping[str, LaneDepth] = Field(description="By name; empty until the model is loaded.")
    ingest: str = Field(
        description="`running`, `starting`, `waiting for the database`, `stopping`, `ending` or `off: …`."
    )
    rerank: str = Field(
        description="`off`, `not loaded yet`, `loading`, `loaded`, `failed: …` (to load) or `failing: …` (to score)."
    )
    database: Literal["none", "ok", "unavailable"]
    database_detail: str | None
    database_gone_since: datetime | None = Field(description="Null while the database can be used.")
    search_database: str = Field(description=_SEARCH_DATABASE)
    replica_lag_s: float | None = Field(description="Of the standby that `watches` was read from; null: the primary.")
    summary: str | None = Field(description="The state of all watches in one sentence. Null while `watches` is null.")
    health: Health | None = Field(description="The worst health of all watches. Null while `watches` is null.")
    watches: Sequence[WatchStatus] | None = Field(description="Null while the database cannot be read.")
    objectives: Mapping[str, ObjectiveReport]


@dataclass(frozen=True, slots=True)
class WatchesReading:
    """The watches as last read, None if that failed for the reason in `detail`. `lag_s`: of the standby read from."""

    database: Literal["none", "ok", "unavailable"]
    detail: str | None = None
    watches: Sequence[WatchStatus] | None = None
    lag_s: float | None = None


NO_DATABASE = WatchesReading("none", "REST only: DATABASE_URL is not set.")


class HealthEndpoints:
    """/livez, /readyz, /healthz and /status, also while the database is down. `reads`: None without one."""

    def __init__(
        self,
        readiness: Readiness,
        process: ProcessStatus,
        objectives: Objectives,
        outage: Outage,
        reads: Reads | None,
    ) -> None:
        self._readiness = readiness
        self._process = process
        self._objectives = objectives
        self._outage = outage
        self._reads = reads
        self._started_at = time.monotonic()

    def operations(self) -> list[Operation]:
        return [
            self._operation("/healthz", self.healthz, "Version, model and state of the process", HealthAnswer),
            self._operation("/livez", self.livez, "Whether the process is alive", LiveAnswer),
            self._operation("/readyz", self.readyz, "Whether queries can be embedded", ReadyAnswer, errors=(503,)),
            self._operation("/status", self.status, "Model, lanes, watches and objectives", StatusAnswer, Scope.ADMIN),
        ]

    async def healthz(self, _request: Request) -> Response:
        """200 with detail as long as the process lives."""
        readiness = self._readiness_text()
        return JsonResponse(
            HealthAnswer(
                detail=readiness,
                ready=readiness == "ready",
                version=sidecar.__version__,
                model=self._process.model,
                ingest=self._process.ingest,
                database="none" if self._reads is None else str(self._outage),
                database_gone_since=self._outage.since,
                search_database=self._search_database,
                uptime_s=round(time.monotonic() - self._started_at, 1),
            )
        )

    async def livez(self, _request: Request) -> Response:
        """200 as long as the event loop runs."""
        return JsonResponse(LiveAnswer())

    async def readyz(self, _request: Request) -> Response:
        """200 if queries can be embedded. Otherwise raises NotReady, which is answered with 503."""
        self._readiness.check()
        return JsonResponse(ReadyAnswer(devices_out=self._devices_out() or None).model_dump(exclude_none=True))

    async def status(self, _request: Request) -> Response:
        """Always 200, with what is known: `watches` is null while the database cannot be read."""
        return JsonResponse(self.report(await self._read_watches()))

    def report(self, reading: WatchesReading) -> StatusAnswer:
        """The state of the process, with the watches of that reading."""
        watches, lag_s = reading.watches, reading.lag_s
        summary = None if watches is None else summarize(watches)
        return StatusAnswer(
            status=self._readiness_text(),
            version=sidecar.__version__,
            model=self._process.model,
            devices=[DeviceState(each.device, each.trouble and redact(each.trouble)) for each in self._states],
            lanes=self._process.lanes,
            ingest=self._process.ingest,
            rerank=redact(self._process.rerank),
            database=reading.database,
            database_detail=reading.detail,
            database_gone_since=self._outage.since,
            search_database=self._search_database,
            replica_lag_s=None if lag_s is None else round(lag_s, 3),
            summary=None if summary is None else summary.text,
            health=None if summary is None else summary.health,
            watches=watches,
            objectives=self._objectives.report(),
        )

    @staticmethod
    def _operation(
        path: str,
        endpoint: Endpoint,
        summary: str,
        response: type[BaseModel],
        scope: Scope | None = None,
        errors: tuple[int, ...] = (),
    ) -> Operation:
        return Operation("GET", path, endpoint, summary, scope, response, deadline=False, errors=errors)

    @property
    def _states(self) -> Sequence[DeviceState]:
        return self._process.device_states

    def _devices_out(self) -> dict[str, str]:
        """By name, without secrets: /readyz needs no key."""
        return {each.device: redact(each.trouble) for each in self._states if each.trouble is not None}

    def _readiness_text(self) -> str:
        """`ready`, or the reason why not, without secrets: /healthz needs no key."""
        error = self._readiness.error()
        return "ready" if error is None else redact(error.message)

    @property
    def _search_database(self) -> str:
        return "none" if self._reads is None else str(self._reads)

    async def _read_watches(self) -> WatchesReading:
        if self._reads is None:
            return NO_DATABASE
        try:
            async with asyncio.timeout(_READ_WATCHES_TIMEOUT_S):
                watches, lag_s = await self._reads.read(read_status)
                return WatchesReading("ok", None, watches, lag_s)
        except DatabaseError as error:
            if isinstance(error, DatabaseUnavailable):
                self._outage.report(error)
            return WatchesReading("unavailable", redact(str(error)))
        except TimeoutError:
            return WatchesReading("unavailable", f"No answer within {_READ_WATCHES_TIMEOUT_S:g} s.")


class MetricsEndpoint:
    """/metrics. `refresh_gauges` brings the gauges up to date before each page, in a second or two at most."""

    def __init__(self, metrics: Metrics, refresh_gauges: Callable[[], Awaitable[None]]) -> None:
        self._metrics = metrics
        self._refresh_gauges = refresh_gauges
        self._one_at_a_time = asyncio.Lock()

    def operations(self) -> list[Operation]:
        return [
            Operation(
                *("GET", "/metrics", self.metrics),
                summary="Metrics for Prometheus",
                scope=Scope.ADMIN,
                response=None,
                response_media=MediaType.TEXT,
                other_media=(MediaType.OPENMETRICS,),
            )
        ]

    async def metrics(self, request: Request) -> Response:
        """Text, or OpenMetrics where `Accept` asks for it. Written in a thread: a thousand watches take 0.2 s."""
        async with self._one_at_a_time:
            await self._refresh_gauges()
            page, media_type = await asyncio.to_thread(self._metrics.expose, request.headers.get("accept", ""))
        return Response(page, headers={"content-type": media_type})
