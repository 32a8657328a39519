"""The span of an HTTP request, in the words of OpenTelemetry's semantic conventions."""

from __future__ import annotations

from opentelemetry.trace import Span, Status, StatusCode

from sidecar.telemetry.traces import AttributeValue, Headers, RequestHead, RequestSpan

_METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
_MAX_PATH_CHARS = 256


def request_attributes(head: RequestHead) -> dict[str, AttributeValue]:
    """What is known when it begins: without the query string, without the client."""
    return {
        "http.request.method": head.method if head.method in _METHODS else "_OTHER",
        "url.path": head.path[:_MAX_PATH_CHARS],
        "url.scheme": head.scheme,
    }


def name_of(head: RequestHead, route: str | None = None) -> str:
    """`POST /embed/text`; only the method for a path that nobody answers."""
    method = head.method if head.method in _METHODS else "HTTP"
    return method if route is None else f"{method} {route}"


class OpenRequestSpan(RequestSpan):
    """A request that is being answered."""

    def __init__(self, span: Span, head: RequestHead) -> None:
        self._span = span
        self._head = head

    def answer(self, status: int, route: str | None) -> None:
        self._span.update_name(name_of(self._head, route))
        self._span.set_attribute("http.response.status_code", status)
        if route is not None:
            self._span.set_attribute("http.route", route)
        if status >= 500:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(Status(StatusCode.ERROR))

    @property
    def response_headers(self) -> Headers:
        context = self._span.get_span_context()
        sampled = int(context.trace_flags.sampled)
        return ((b"traceresponse", b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, sampled)),)
