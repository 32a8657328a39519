"""Counts every answer, whoever gives it: endpoints, guards before them, and deadlines."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidecar.http.middleware.route_label import RouteLabel
from sidecar.telemetry.request_context import request_is_large
from sidecar.telemetry.telemetry import Telemetry

_CLIENT_CLOSED_REQUEST = 499


class Measured:
    """Stands around all other middleware."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry, label: RouteLabel) -> None:
        self._app = app
        self._telemetry = telemetry
        self._label = label

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route, method = self._label.of(scope)
        status = 500  # what the server says where we say nothing

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._telemetry.request_started()
        none_yet = request_is_large.set(False)
        started = time.perf_counter()
        try:
            await self._app(scope, receive, watched_send)
        except asyncio.CancelledError:
            status = _CLIENT_CLOSED_REQUEST
            raise
        finally:
            self._telemetry.request_done(route, method, status, time.perf_counter() - started)
            request_is_large.reset(none_yet)
