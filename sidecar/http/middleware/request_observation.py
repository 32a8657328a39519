"""Observation of every request: metrics, an access log line, a span, and the request id that logs and answer carry."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidecar.http.access import key_name_of
from sidecar.http.headers import header_values
from sidecar.http.middleware.route_label import RouteLabel
from sidecar.telemetry.metrics.instruments import OTHER
from sidecar.telemetry.request_context import current_request_id, request_is_large
from sidecar.telemetry.telemetry import Telemetry
from sidecar.telemetry.traces import RequestHead, RequestSpan

logger = logging.getLogger("sidecar.http.access_log")  # users filter by this name

CLIENT_CLOSED_REQUEST = 499
"""Status of a request that was cut off before its answer was complete; no client receives it."""

_NOT_ANSWERED = 500  # what a server sends for an application that returns without an answer
_PROBE_PATHS = {"/", "/health", "/healthz", "/livez", "/metrics", "/ping", "/readyz"}
_USABLE_ID = re.compile(r"[A-Za-z0-9._:=+/-]{1,128}")
_MAX_PATH_CHARS = 200
_NO_SPAN = nullcontext(RequestSpan())


@dataclass(slots=True)
class _Observation:
    """One request in flight. `started_s` is of time.perf_counter, the only clock that times it."""

    request_id: str
    started_s: float
    status: int = _NOT_ANSWERED
    duration_s: float = 0.0


class ObserveRequests:
    """Wraps all middleware that can answer, so that every answer is observed, refusals and timeouts included.

    Probes and scrapes, which come every few seconds, have no span, and no log line above DEBUG unless they fail. A
    usable `X-Request-ID` becomes the request's id; one that is long or has other characters is replaced.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry, label: RouteLabel) -> None:
        self._app = app
        self._telemetry = telemetry
        self._label = label
        # Unlike the system's, this one does not release the interpreter's lock, which the device's thread would take.
        self._random = random.Random()  # noqa: S311 - ids are unique, not secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route, method = self._label.of(scope)
        observation = _Observation(self._request_id(scope), time.perf_counter())
        self._telemetry.request_started()
        id_token, large_token = current_request_id.set(observation.request_id), request_is_large.set(False)
        try:
            with self._span(scope, route) as span:
                await self._observe(observation, span, scope, receive, send)
        finally:
            self._telemetry.request_done(route, method, observation.status, observation.duration_s)
            request_is_large.reset(large_token)
            current_request_id.reset(id_token)

    async def _observe(
        self, observation: _Observation, span: RequestSpan, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Runs the application. Logs and records the status inside the span, so that the line has the trace's id."""
        id_header = (b"x-request-id", observation.request_id.encode())

        async def observed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                observation.status = message["status"]
                message["headers"] = [*message.get("headers", ()), id_header, *span.response_headers]
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        except asyncio.CancelledError:
            observation.status = CLIENT_CLOSED_REQUEST
            raise
        finally:
            observation.duration_s = time.perf_counter() - observation.started_s
            span.record_status(observation.status)
            _log(scope, observation)

    def _request_id(self, scope: Scope) -> str:
        sent = header_values(scope, b"x-request-id")
        if len(sent) == 1 and _USABLE_ID.fullmatch(sent[0]):
            return sent[0]
        return f"{self._random.getrandbits(128):032x}"

    def _span(self, scope: Scope, route: str) -> AbstractContextManager[RequestSpan]:
        traces = self._telemetry.traces
        if not traces.enabled or _is_probe(scope):
            return _NO_SPAN
        head = RequestHead(
            scope["method"], None if route == OTHER else route, scope["path"], scope["scheme"], scope["headers"]
        )
        return traces.request(head)


def loggable_path(scope: Scope) -> str:
    """The path without its query, percent-encoded as it was sent (%0A for a line feed), cut after 200 characters."""
    path = bytes(scope.get("raw_path") or scope["path"].encode()).decode("ascii", "backslashreplace")
    path = path.partition("?")[0]
    return path if len(path) <= _MAX_PATH_CHARS else f"{path[:_MAX_PATH_CHARS]}…"


def _is_probe(scope: Scope) -> bool:
    return scope["path"] in _PROBE_PATHS and scope["method"] != "POST"  # a POST to `/` embeds


def _log(scope: Scope, observation: _Observation) -> None:
    """Method, path, status and duration. Nothing of the body, and no header."""
    status, duration_ms = observation.status, 1000 * observation.duration_s
    level = logging.DEBUG if status < 400 and _is_probe(scope) else logging.INFO
    if not logger.isEnabledFor(level):
        return
    method, path = scope["method"], loggable_path(scope)
    fields = {"method": method, "path": path, "status": status, "duration_ms": round(duration_ms, 1)}
    if key := key_name_of(scope):
        fields["key"] = key
    logger.log(level, "%s %s %d %.1f ms", method, path, status, duration_ms, extra={"fields": fields})
