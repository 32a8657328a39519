"""What operators and balancers ask: is it alive, can it embed queries, how far has it got."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Literal, TypeAlias

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

import sidecar
from sidecar.errors import DatabaseError
from sidecar.http.health_answers import HealthAnswer, LiveAnswer, ReadyAnswer, StatusAnswer
from sidecar.http.json_response import JsonResponse
from sidecar.http.operation import Endpoint, Operation, Scope
from sidecar.http.service import NotReady, Service
from sidecar.postgres.status import WatchStatus
from sidecar.redaction import redact

_READ_WATCHES_TIMEOUT_S = 5.0
_Database: TypeAlias = Literal["none", "ok", "unavailable"]


class HealthEndpoints:
    """None of them fails because the database is down."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._started_at = time.monotonic()

    def operations(self) -> list[Operation]:
        return [
            self._operation("/healthz", self.healthz, "What the process is and does", HealthAnswer),
            self._operation("/livez", self.livez, "Whether the process lives", LiveAnswer),
            self._operation("/readyz", self.readyz, "Whether queries can be embedded", ReadyAnswer, errors=(503,)),
            self._operation("/status", self.status, "Model, lanes, watches and objectives", StatusAnswer, Scope.ADMIN),
        ]

    async def healthz(self, _request: Request) -> Response:
        """200 with detail as long as the process lives."""
        readiness = self._readiness()
        return JsonResponse(
            HealthAnswer(
                detail=readiness,
                ready=readiness == "ready",
                version=sidecar.__version__,
                model=self._service.model,
                ingest=self._service.ingest_state,
                uptime_s=round(time.monotonic() - self._started_at, 1),
            )
        )

    async def livez(self, _request: Request) -> Response:
        """200: the event loop turns."""
        return JsonResponse(LiveAnswer())

    async def readyz(self, _request: Request) -> Response:
        """200: queries are embedded. Raises NotReady otherwise, which is answered with 503."""
        self._service.check_ready()
        return JsonResponse(ReadyAnswer())

    async def status(self, _request: Request) -> Response:
        """Always 200, with what is known: `watches` is null while the database does not tell."""
        database, detail, watches = await self._database()
        return JsonResponse(
            StatusAnswer(
                status=self._readiness(),
                version=sidecar.__version__,
                model=self._service.model,
                lanes=self._service.lanes,
                ingest=self._service.ingest_state,
                rerank=redact(self._service.rerank_state),
                database=database,
                database_detail=detail,
                watches=watches,
                objectives=self._service.objectives.report(),
            )
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

    def _readiness(self) -> str:
        try:
            self._service.check_ready()
        except NotReady as error:
            return redact(error.message)  # /healthz needs no key
        return "ready"

    async def _database(self) -> tuple[_Database, str | None, Sequence[WatchStatus] | None]:
        read = self._service.read_watches
        if read is None:
            return "none", "REST only: DATABASE_URL is not set.", None
        try:
            async with asyncio.timeout(_READ_WATCHES_TIMEOUT_S):
                return "ok", None, await read()
        except DatabaseError as error:
            return "unavailable", redact(str(error)), None
        except TimeoutError:
            return "unavailable", f"No answer within {_READ_WATCHES_TIMEOUT_S:g} s.", None
