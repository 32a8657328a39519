"""Traces with OpenTelemetry, over a provider of our own; imported only where traces are wanted.

No span holds a text, a picture, a row, or the message of an error, which may quote one: only its class.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import sidecar
from sidecar.settings import Settings
from sidecar.telemetry.open_telemetry.export import SpanExport
from sidecar.telemetry.open_telemetry.spans import OpenRequestSpan, name_of, request_attributes
from sidecar.telemetry.span_sampling import LikeItsLinks
from sidecar.telemetry.telemetry import Carried, MicroBatchReport
from sidecar.telemetry.traces import AttributeValue, RequestHead, RequestSpan, TraceContext, Traces, current_trace

_MAX_LINKS = 4096  # the most that BATCH_MAX_VIEWS allows
_W3C_HEADERS = (b"traceparent", b"tracestate")


class OpenTelemetryTraces(Traces):
    """Sends to OTEL_EXPORTER_OTLP_ENDPOINT, from `start` to `close`."""

    on = True

    def __init__(self, settings: Settings) -> None:
        assert settings.otel_exporter_otlp_endpoint is not None
        self._endpoint, self._headers = settings.otel_exporter_otlp_endpoint, settings.otel_exporter_otlp_headers
        self._provider = TracerProvider(
            sampler=ParentBased(LikeItsLinks(TraceIdRatioBased(settings.otel_traces_sampler_arg))),
            resource=Resource.create(
                {
                    "service.name": settings.otel_service_name,
                    "service.version": sidecar.__version__,
                    "service.instance.id": str(uuid.uuid4()),
                }
            ),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_links=_MAX_LINKS),
        )
        self._tracer = self._provider.get_tracer("sidecar", sidecar.__version__)
        self._propagator = TraceContextTextMapPropagator()
        self._export: SpanExport | None = None

    def start(self) -> None:
        self._export = SpanExport(self._endpoint, self._headers)
        self._provider.add_span_processor(self._export.processor)

    def close(self, timeout_s: float) -> None:
        if self._export is not None:
            self._export.close(timeout_s)

    def current(self) -> TraceContext | None:
        return current_trace.get()

    @contextmanager
    def span(self, name: str, **attributes: AttributeValue) -> Iterator[None]:
        parent = current_trace.get()
        if parent is None or not parent.span.trace_flags.sampled:
            yield
            return
        span = self._tracer.start_span(name, _inside(parent), attributes=_ours(attributes))
        with _running(span, parent.watch):
            yield

    @contextmanager
    def request(self, head: RequestHead) -> Iterator[RequestSpan]:
        caller = self._propagator.extract(_w3c_headers(head), Context())
        span = self._tracer.start_span(name_of(head), caller, SpanKind.SERVER, request_attributes(head))
        with _running(span):
            yield OpenRequestSpan(span)

    @contextmanager
    def batch(self, watch: str, rows: int, claim_s: float) -> Iterator[None]:
        claimed_ns = time.time_ns()
        started_ns = claimed_ns - _ns(claim_s)
        attributes = _ours({"watch": watch, "rows": rows})
        span = self._tracer.start_span(
            "batch", Context(), SpanKind.CONSUMER, attributes=attributes, start_time=started_ns
        )
        with _running(span, watch):
            stage = _ours({"stage": "database", "lane": "ingest"})
            claim = self._tracer.start_span("claim", set_span_in_context(span), attributes=stage, start_time=started_ns)
            claim.end(claimed_ns)
            yield

    def micro_batch_done(self, report: MicroBatchReport) -> None:
        carried = [part for part in report.carried if part.trace is not None and part.trace.span.trace_flags.sampled]
        if not carried:
            return
        late_s = 0.0 if report.ended_s is None else time.monotonic() - report.ended_s
        ended_ns = time.time_ns() - _ns(late_s)
        started_ns = ended_ns - _ns(report.duration_s)
        attributes = _ours({"kind": report.kind, "units": report.units, "encoded_units": report.encoded_units})
        span = self._tracer.start_span(
            "micro-batch", Context(), attributes=attributes, links=_links_to(carried), start_time=started_ns
        )
        to_micro_batch = [Link(span.get_span_context())]
        for part in carried:
            queue = self._stage("queue", part, (), started_ns - _ns(part.waited_s))
            queue.end(started_ns)
            device = self._stage("device", part, to_micro_batch, started_ns)
            _end(device, report.error, ended_ns)
        _end(span, report.error, ended_ns)

    def job_dropped(self, lane: str, units: int, waited_s: float) -> None:
        trace = current_trace.get()
        if trace is None or not trace.span.trace_flags.sampled:
            return
        ended_ns = time.time_ns()
        queue = self._stage("queue", Carried(lane, units, waited_s, trace), (), ended_ns - _ns(waited_s))
        _end(queue, "dropped", ended_ns)

    def _stage(self, name: str, part: Carried, links: Sequence[Link], started_ns: int) -> Span:
        assert part.trace is not None
        attributes = _ours({"stage": name, "lane": part.lane, "units": part.units})
        return self._tracer.start_span(
            name, _inside(part.trace), attributes=attributes, links=links, start_time=started_ns
        )


@contextmanager
def _running(span: Span, watch: str | None = None) -> Iterator[None]:
    """What is done in the block is done for `span`, which ends with it."""
    token = current_trace.set(TraceContext(span.get_span_context(), watch))
    error: str | None = None
    try:
        yield
    except BaseException as raised:
        error = type(raised).__qualname__
        raise
    finally:
        current_trace.reset(token)
        _end(span, error)


def _end(span: Span, error: str | None, ended_ns: int | None = None) -> None:
    if error is not None:
        span.set_attribute("error.type", error)
        span.set_status(Status(StatusCode.ERROR, error))
    span.end(ended_ns)


def _w3c_headers(head: RequestHead) -> dict[str, list[str]]:
    """`tracestate` may come in several lines."""
    found: dict[str, list[str]] = {}
    for name, value in head.headers:
        if name in _W3C_HEADERS:
            found.setdefault(name.decode(), []).append(value.decode("latin-1"))
    return found


def _inside(trace: TraceContext) -> Context:
    return set_span_in_context(NonRecordingSpan(trace.span), Context())


def _links_to(carried: Sequence[Carried]) -> list[Link]:
    """One for each span, however many jobs it has in the micro-batch."""
    links: dict[int, tuple[TraceContext, dict[str, AttributeValue]]] = {}
    units: Counter[int] = Counter()
    for part in carried:
        assert part.trace is not None
        units[part.trace.span.span_id] += part.units
        attributes: dict[str, AttributeValue] = {"lane": part.lane, "units": units[part.trace.span.span_id]}
        if part.trace.watch is not None:
            attributes["watch"] = part.trace.watch
        links[part.trace.span.span_id] = part.trace, attributes
    return [Link(trace.span, _ours(attributes)) for trace, attributes in links.values()]


def _ours(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {f"sidecar.{name}": value for name, value in attributes.items()}


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
