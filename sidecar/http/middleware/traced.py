"""A span for every request that asks for something: probes and scrapes come every few seconds and have none."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidecar.http.middleware.probes import is_probe
from sidecar.http.middleware.route_label import RouteLabel
from sidecar.telemetry.metrics.instruments import OTHER
from sidecar.telemetry.traces import RequestHead, Traces


class Traced:
    """Inside Measured, around all else: what is logged for a request, by whomever, is part of its trace."""

    def __init__(self, app: ASGIApp, traces: Traces, label: RouteLabel) -> None:
        self._app = app
        self._traces = traces
        self._label = label

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_probe(scope):
            await self._app(scope, receive, send)
            return
        route = self._label.of(scope)[0]
        head = RequestHead(
            scope["method"], None if route == OTHER else route, scope["path"], scope["scheme"], scope["headers"]
        )
        with self._traces.request(head) as span:

            async def send_traced(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.record_status(message["status"])
                    message = {**message, "headers": [*message.get("headers", ()), *span.response_headers]}
                await send(message)

            await self._app(scope, receive, send_traced)
