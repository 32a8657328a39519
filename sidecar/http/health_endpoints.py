"""What operators and balancers ask: is it alive, can it embed queries, how far has it got."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

import sidecar
from sidecar.errors import DatabaseError
from sidecar.http.json_response import JsonResponse
from sidecar.http.operation import Operation, Scope
from sidecar.http.service import NotReady, Service
from sidecar.redaction import redact

_READ_WATCHES_TIMEOUT_S = 5.0


class HealthEndpoints:
    """None of them fails because the database is down."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._started_at = time.monotonic()

    def operations(self) -> list[Operation]:
        return [
            Operation("GET", "/healthz", self.healthz, "What the process is and does", None, None, deadline=False),
            Operation("GET", "/livez", self.livez, "Whether the process lives", None, None, deadline=False),
            Operation(
                "GET",
                "/readyz",
                self.readyz,
                "Whether queries can be embedded",
                None,
                None,
                deadline=False,
                errors=(503,),
            ),
            Operation(
                "GET", "/status", self.status, "Model, lanes, watches and objectives", Scope.ADMIN, None, deadline=False
            ),
        ]

    async def healthz(self, _request: Request) -> Response:
        """200 with detail as long as the process lives."""
        return JsonResponse(
            {
                "status": "ok",
                "detail": self._readiness(),
                "ready": self._readiness() == "ready",
                "version": sidecar.__version__,
                "model": self._model(),
                "ingest": self._service.ingest_state,
                "uptime_s": round(time.monotonic() - self._started_at, 1),
            }
        )

    async def livez(self, _request: Request) -> Response:
        """200: the event loop turns."""
        return JsonResponse({"status": "alive"})

    async def readyz(self, _request: Request) -> Response:
        """200: queries are embedded. Raises NotReady otherwise, which is answered with 503."""
        self._service.check_ready()
        return JsonResponse({"status": "ready"})

    async def status(self, _request: Request) -> Response:
        """Always 200, with what is known: `watches` is null while the database does not tell."""
        database, detail, watches = await self._database()
        return JsonResponse(
            {
                "status": self._readiness(),
                "version": sidecar.__version__,
                "model": self._model(),
                "lanes": {name: asdict(depth) for name, depth in self._service.lanes.items()},
                "ingest": self._service.ingest_state,
                "database": database,
                "database_detail": detail,
                "watches": watches,
                "objectives": {name: asdict(report) for name, report in self._service.objectives.report().items()},
            }
        )

    def _readiness(self) -> str:
        try:
            self._service.check_ready()
        except NotReady as error:
            return redact(error.message)  # /healthz needs no key
        return "ready"

    def _model(self) -> dict[str, Any] | None:
        return asdict(self._service.model) if self._service.model else None

    async def _database(self) -> tuple[str, str | None, Sequence[object] | None]:
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
