"""A collector of traces for tests: an OTLP endpoint over HTTP that decodes and keeps the spans."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

SERVER, CONSUMER = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER
ERROR = 2  # Status.STATUS_CODE_ERROR


@dataclass(frozen=True)
class Link:
    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class ReceivedSpan:
    """A decoded span. Ids are in hexadecimal; `parent_id` is empty for a root."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    trace_state: str
    started_ns: int
    ended_ns: int
    status: int
    message: str
    attributes: Mapping[str, Any]
    links: tuple[Link, ...]
    resource: Mapping[str, Any]
    events: int


@dataclass
class Collector:
    """What a collector received, `requests` as path and headers. Clearing `may_respond` delays its responses."""

    url: str
    spans: list[ReceivedSpan] = field(default_factory=list)
    requests: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    response_status: int = 200
    may_respond: threading.Event = field(default_factory=threading.Event)

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReceivedSpan:
        """The only span of this name."""
        (span,) = self.named(name)
        return span

    def children_of(self, parent: ReceivedSpan) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.parent_id == parent.span_id and span.trace_id == parent.trace_id]


@contextmanager
def running_collector() -> Iterator[Collector]:
    """Runs a collector on a free loopback port for the length of the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        collector.may_respond.set()
        server.collector = collector  # type: ignore[attr-defined]
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="collector")
        thread.start()
        try:
            yield collector
        finally:
            collector.may_respond.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        collector: Collector = self.server.collector  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        collector.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        collector.may_respond.wait()
        if collector.response_status == 200:
            collector.spans.extend(_decode(body))
        self.send_response(collector.response_status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        pass


def _decode(body: bytes) -> Iterator[ReceivedSpan]:
    message = ExportTraceServiceRequest.FromString(body)
    for of_resource in message.resource_spans:
        resource = _plain(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            yield from (_received(span, resource) for span in of_scope.spans)


def _received(span: Span, resource: Mapping[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        trace_state=span.trace_state,
        started_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        status=span.status.code,
        message=span.status.message,
        attributes=_plain(span.attributes),
        links=tuple(Link(link.trace_id.hex(), link.span_id.hex(), _plain(link.attributes)) for link in span.links),
        resource=resource,
        events=len(span.events),
    )


def _plain(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in attributes}
