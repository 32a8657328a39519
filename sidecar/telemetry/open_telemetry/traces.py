"""Traces recorded with OpenTelemetry, by a provider of our own.

No span holds a text, a picture or a row, nor the message of an error, which may quote one: only the error's class.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeGuard

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanKind,
    Status,
    StatusCode,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.types import Attributes

import sidecar
from sidecar.settings import Settings
from sidecar.telemetry.open_telemetry.export import SpanExport
from sidecar.telemetry.open_telemetry.request_span import (
    RecordedRequestSpan,
    caller_context,
    request_attributes,
    span_name,
)
from sidecar.telemetry.traces import (
    AttributeValue,
    BatchedJob,
    MicroBatchReport,
    RequestHead,
    RequestSpan,
    TraceContext,
    Traces,
    current_trace,
)

_MAX_LINKS = 4096  # the most that BATCH_MAX_VIEWS allows


class OpenTelemetryTraces(Traces):
    """Exports to OTEL_EXPORTER_OTLP_ENDPOINT, from `start` to `close`."""

    enabled = True

    def __init__(self, settings: Settings) -> None:
        assert settings.otel_exporter_otlp_endpoint is not None
        self._endpoint, self._headers = settings.otel_exporter_otlp_endpoint, settings.otel_exporter_otlp_headers
        self._provider = TracerProvider(
            sampler=ParentBased(LinkedSampler(TraceIdRatioBased(settings.otel_traces_sampler_arg))),
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
        self._export: SpanExport | None = None

    def start(self) -> None:
        self._export = SpanExport(self._endpoint, self._headers)
        self._provider.add_span_processor(self._export.processor)

    def close(self, timeout_s: float) -> None:
        if self._export is not None:
            self._export.close(timeout_s)

    def current_context(self) -> TraceContext | None:
        return current_trace.get()

    @contextmanager
    def span(self, name: str, **attributes: AttributeValue) -> Iterator[None]:
        parent = current_trace.get()
        if not _is_sampled(parent):
            yield
            return
        span = self._tracer.start_span(name, _child_of(parent), attributes=_prefixed(attributes))
        with _current(span, parent.watch):
            yield

    @contextmanager
    def request(self, head: RequestHead) -> Iterator[RequestSpan]:
        span = self._tracer.start_span(span_name(head), caller_context(head), SpanKind.SERVER, request_attributes(head))
        with _current(span):
            yield RecordedRequestSpan(span)

    @contextmanager
    def batch(self, watch: str, rows: int, claim_s: float) -> Iterator[None]:
        claimed_ns = time.time_ns()
        started_ns = claimed_ns - _ns(claim_s)
        attributes = _prefixed({"watch": watch, "rows": rows})
        span = self._tracer.start_span(
            "batch", Context(), SpanKind.CONSUMER, attributes=attributes, start_time=started_ns
        )
        with _current(span, watch):
            stage = _prefixed({"stage": "database", "lane": "ingest"})
            claim = self._tracer.start_span("claim", set_span_in_context(span), attributes=stage, start_time=started_ns)
            claim.end(claimed_ns)
            yield

    def micro_batch_done(self, report: MicroBatchReport) -> None:
        jobs = [job for job in report.jobs if _is_sampled(job.trace)]
        if not jobs:
            return
        delay_s = 0.0 if report.ended_s is None else time.monotonic() - report.ended_s
        ended_ns = time.time_ns() - _ns(delay_s)
        started_ns = ended_ns - _ns(report.duration_s)
        attributes = _prefixed({"kind": report.kind, "units": report.units, "encoded_units": report.encoded_units})
        span = self._tracer.start_span(
            "micro-batch", Context(), attributes=attributes, links=_links_to(jobs), start_time=started_ns
        )
        to_micro_batch = [Link(span.get_span_context())]
        for job in jobs:
            queue = self._stage("queue", job, (), started_ns - _ns(job.waited_s))
            queue.end(started_ns)
            device = self._stage("device", job, to_micro_batch, started_ns)
            _end(device, report.error, ended_ns)
        _end(span, report.error, ended_ns)

    def job_dropped(self, lane: str, units: int, waited_s: float) -> None:
        trace = current_trace.get()
        if not _is_sampled(trace):
            return
        ended_ns = time.time_ns()
        queue = self._stage("queue", BatchedJob(lane, units, waited_s, trace), (), ended_ns - _ns(waited_s))
        _end(queue, "dropped", ended_ns)

    def _stage(self, name: str, job: BatchedJob, links: Sequence[Link], started_ns: int) -> Span:
        assert job.trace is not None
        attributes = _prefixed({"stage": name, "lane": job.lane, "units": job.units})
        return self._tracer.start_span(
            name, _child_of(job.trace), attributes=attributes, links=links, start_time=started_ns
        )


class LinkedSampler(Sampler):
    """Samples a span with links if any linked span is sampled; leaves spans without links to `unlinked`."""

    def __init__(self, unlinked: Sampler) -> None:
        self._unlinked = unlinked

    def should_sample(  # noqa: PLR0913, PLR0917 - the interface is OpenTelemetry's
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        sampler = self._unlinked
        if links:
            sampler = ALWAYS_ON if any(link.context.trace_flags.sampled for link in links) else ALWAYS_OFF
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"LinkedSampler{{{self._unlinked.get_description()}}}"


@contextmanager
def _current(span: Span, watch: str | None = None) -> Iterator[None]:
    """Makes `span` the current one for the block, and ends it with the block."""
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


def _is_sampled(trace: TraceContext | None) -> TypeGuard[TraceContext]:
    return trace is not None and trace.span.trace_flags.sampled


def _child_of(parent: TraceContext) -> Context:
    return set_span_in_context(NonRecordingSpan(parent.span), Context())


def _links_to(jobs: Sequence[BatchedJob]) -> list[Link]:
    """A link to each span, however many jobs it has in the micro-batch."""
    links: dict[int, tuple[TraceContext, dict[str, AttributeValue]]] = {}
    units: Counter[int] = Counter()
    for job in jobs:
        assert job.trace is not None
        units[job.trace.span.span_id] += job.units
        attributes: dict[str, AttributeValue] = {"lane": job.lane, "units": units[job.trace.span.span_id]}
        if job.trace.watch is not None:
            attributes["watch"] = job.trace.watch
        links[job.trace.span.span_id] = job.trace, attributes
    return [Link(trace.span, _prefixed(attributes)) for trace, attributes in links.values()]


def _prefixed(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """`sidecar.` before each name."""
    return {f"sidecar.{name}": value for name, value in attributes.items()}


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
