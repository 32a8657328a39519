"""The span of an HTTP request, after OpenTelemetry's semantic conventions, and the trace context of its caller."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sidecar.telemetry.request_context import current_request_id
from sidecar.telemetry.traces import AttributeValue, Headers, RequestHead, RequestSpan

_METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
_MAX_PATH_CHARS = 256
_W3C_HEADERS = (b"traceparent", b"tracestate")
_PROPAGATOR = TraceContextTextMapPropagator()


def span_name(head: RequestHead) -> str:
    """`POST /embed/text`; only the method for a path without an endpoint."""
    method = head.method if head.method in _METHODS else "HTTP"
    return method if head.route is None else f"{method} {head.route}"


def request_attributes(head: RequestHead) -> dict[str, AttributeValue]:
    """The attributes known at the start; neither the query string nor the client's address."""
    attributes: dict[str, AttributeValue] = {
        "http.request.method": head.method if head.method in _METHODS else "_OTHER",
        "url.path": head.path[:_MAX_PATH_CHARS],
        "url.scheme": head.scheme,
    }
    if head.route is not None:
        attributes["http.route"] = head.route
    return attributes


def caller_context(head: RequestHead) -> Context:
    """The caller's span, from `traceparent` and `tracestate` (which may be repeated); empty without one."""
    found: dict[str, list[str]] = {}
    for name, value in head.headers:
        if name in _W3C_HEADERS:
            found.setdefault(name.decode(), []).append(value.decode("latin-1"))
    return _PROPAGATOR.extract(found, Context())


class RecordedRequestSpan(RequestSpan):
    """Records the answer on an OpenTelemetry span."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def record_status(self, status: int) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if (request_id := current_request_id.get()) is not None:
            self._span.set_attribute("sidecar.request_id", request_id)
        if status >= 500:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(Status(StatusCode.ERROR))

    @property
    def response_headers(self) -> Headers:
        context = self._span.get_span_context()
        sampled = int(context.trace_flags.sampled)
        return ((b"traceresponse", b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, sampled)),)
