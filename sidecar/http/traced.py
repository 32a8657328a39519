"""A span for every request that asks for something: probes and scrapes come every few seconds and have none."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidecar.telemetry.traces import RequestHead, Traces

_UNTRACED_PATHS = {"/healthz", "/livez", "/readyz", "/metrics"}


class Traced:
    """The outermost: what is logged for a request, by whomever, is then part of its trace."""

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED_PATHS:
            await self._app(scope, receive, send)
            return
        head = RequestHead(scope["method"], scope["path"], scope["scheme"], scope["headers"])
        with self._traces.request(head) as span:

            async def send_traced(message: Message) -> None:
                if message["type"] == "http.response.start":
                    route = getattr(scope.get("route"), "path", None)
                    span.answer(message["status"], route)
                    message = {**message, "headers": [*message.get("headers", ()), *span.response_headers]}
                await send(message)

            await self._app(scope, receive, send_traced)
