"""Traces as a collector receives them, recorded without a running service."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

import sidecar
from sidecar.config import Settings
from sidecar.telemetry.telemetry import open_traces
from sidecar.telemetry.traces import BatchedJob, MicroBatchReport, RequestHead, TraceContext, Traces, current_ids
from tests.collector import CONSUMER, ERROR, SERVER, Collector, running_collector
from tests.ports import find_free_port

HEAD = RequestHead("POST", "/embed/text", "/embed/text", "http", ())
CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


@contextmanager
def exporting(collector: Collector, **settings: Any) -> Iterator[Traces]:
    """Traces that have all reached the collector at the end of the block."""
    traces = open_traces(Settings(otel_exporter_otlp_endpoint=collector.url, **settings))
    traces.start()
    try:
        yield traces
    finally:
        traces.close(timeout_s=5)


def called_by(trace_flags: str) -> RequestHead:
    parent = f"00-{CALLER_TRACE}-{CALLER_SPAN}-{trace_flags}".encode()
    headers = ((b"host", b"sidecar"), (b"traceparent", parent), (b"tracestate", b"a=1"), (b"tracestate", b"b=2"))
    return RequestHead("POST", "/embed/text", "/embed/text", "http", headers)


def job(trace: TraceContext | None, units: int = 1, waited_s: float = 0.0, lane: str = "query") -> BatchedJob:
    return BatchedJob(lane, units, waited_s, trace)


def micro_batch(*jobs: BatchedJob, duration_s: float = 0.25, **more: Any) -> MicroBatchReport:
    return MicroBatchReport("text", sum(job.units for job in jobs), duration_s, jobs, **more)


def test_stages_are_children_of_their_request(collector: Collector) -> None:
    with exporting(collector) as traces, traces.request(HEAD) as request:
        with traces.span("prepare", texts=3):
            pass
        with traces.span("search"), traces.span("read"):
            pass
        request.record_status(200)
    root = collector.one("POST /embed/text")
    assert (root.kind, root.parent_id, root.links) == (SERVER, "", ())
    assert root.attributes == {
        "http.request.method": "POST",
        "http.route": "/embed/text",
        "http.response.status_code": 200,
        "url.path": "/embed/text",
        "url.scheme": "http",
    }
    assert [span.name for span in collector.children_of(root)] == ["prepare", "search"]
    assert collector.one("prepare").attributes == {"sidecar.texts": 3}
    assert collector.children_of(collector.one("search")) == [collector.one("read")]


def test_the_resource_names_the_service_and_the_process(collector: Collector) -> None:
    for _ in range(2):
        with exporting(collector, otel_service_name="search") as traces, traces.request(HEAD):
            pass
    first, second = (span.resource for span in collector.spans)
    assert (first["service.name"], first["service.version"]) == ("search", sidecar.__version__)
    assert first["service.instance.id"] != second["service.instance.id"]


def test_the_exporter_sends_the_headers_of_the_settings(collector: Collector) -> None:
    with (
        exporting(collector, otel_exporter_otlp_headers="api-key=s3cret%20x,x-team=search") as traces,
        traces.request(HEAD),
    ):
        pass
    ((path, headers),) = collector.requests
    assert path == "/v1/traces"
    assert (headers["api-key"], headers["x-team"]) == ("s3cret x", "search")
    assert headers["content-type"] == "application/x-protobuf"


def test_a_request_continues_the_trace_of_its_caller(collector: Collector) -> None:
    with exporting(collector, otel_traces_sampler_arg=0.0) as traces, traces.request(called_by("01")) as request:
        assert current_ids() == (CALLER_TRACE, dict(request.response_headers)[b"traceresponse"].decode()[36:52])
        with traces.span("prepare"):
            pass
    span = collector.one("POST /embed/text")
    assert (span.trace_id, span.parent_id) == (CALLER_TRACE, CALLER_SPAN)
    assert {span.trace_state for span in collector.spans} == {"a=1,b=2"}


def test_an_unsampled_request_is_not_exported_but_has_its_ids_in_the_log(collector: Collector) -> None:
    with exporting(collector) as traces, traces.request(called_by("00")), traces.span("prepare"):
        ids, context = current_ids(), traces.current_context()
        traces.micro_batch_done(micro_batch(job(context)))
    assert ids is not None
    assert ids[0] == CALLER_TRACE
    assert collector.requests == []


@pytest.mark.parametrize("parent", ["", "00-0-0-01", f"00-{'0' * 32}-{CALLER_SPAN}-01", "\xff" * 600])
def test_a_malformed_traceparent_begins_a_new_trace(collector: Collector, parent: str) -> None:
    head = RequestHead("GET", None, "/", "http", ((b"traceparent", parent.encode("latin-1")),))
    with exporting(collector) as traces, traces.request(head):
        pass
    (span,) = collector.spans
    assert span.parent_id == ""
    assert span.trace_id != CALLER_TRACE


def test_the_sampling_ratio_applies_to_traces_that_begin_here(collector: Collector) -> None:
    with exporting(collector, otel_traces_sampler_arg=0.3) as traces:
        for _ in range(1000):
            with traces.request(HEAD), traces.span("prepare"):
                pass
    kept = {span.trace_id for span in collector.named("POST /embed/text")}
    assert 200 < len(kept) < 400  # 6 sigma
    assert {span.trace_id for span in collector.named("prepare")} == kept


def test_queue_and_device_spans_have_their_own_times_and_links_to_the_micro_batch(collector: Collector) -> None:
    with exporting(collector) as traces:
        contexts = []
        for _ in range(2):
            with traces.request(HEAD):
                contexts.append(traces.current_context())
        jobs = [job(contexts[0], 1, waited_s=0.5), job(contexts[1], 3, waited_s=0.125), job(None, 1)]
        before_ns, ended_s = time.time_ns(), time.monotonic() - 2.0
        traces.micro_batch_done(micro_batch(*jobs, ended_s=ended_s))
    batch = collector.one("micro-batch")
    assert batch.ended_ns == pytest.approx(before_ns - 2_000_000_000, abs=1_000_000_000)
    assert batch.ended_ns - batch.started_ns == 250_000_000
    assert batch.parent_id == ""
    assert batch.attributes == {"sidecar.kind": "text", "sidecar.units": 5, "sidecar.encoded_units": 5}
    roots = collector.named("POST /embed/text")
    assert [(link.trace_id, link.span_id) for link in batch.links] == [(r.trace_id, r.span_id) for r in roots]
    assert [link.attributes["sidecar.units"] for link in batch.links] == [1, 3]
    for root, waited_ns in zip(roots, (500_000_000, 125_000_000), strict=True):
        queue, device = collector.children_of(root)
        assert (queue.name, queue.ended_ns) == ("queue", batch.started_ns)
        assert queue.ended_ns - queue.started_ns == waited_ns
        assert (device.name, device.started_ns, device.ended_ns) == ("device", batch.started_ns, batch.ended_ns)
        assert [link.span_id for link in device.links] == [batch.span_id]


def test_a_dropped_job_has_a_queue_span(collector: Collector) -> None:
    with exporting(collector) as traces:
        with traces.request(HEAD):
            traces.job_dropped("query", 3, waited_s=0.5)
        with traces.request(called_by("00")):
            traces.job_dropped("query", 3, waited_s=0.5)
        traces.job_dropped("query", 3, waited_s=0.5)
    queue = collector.one("queue")
    assert queue.parent_id == collector.one("POST /embed/text").span_id
    assert queue.ended_ns - queue.started_ns == 500_000_000
    assert (queue.status, queue.attributes["error.type"], queue.attributes["sidecar.units"]) == (ERROR, "dropped", 3)


def test_a_micro_batch_is_sampled_if_one_of_its_requests_is(collector: Collector) -> None:
    with exporting(collector, otel_traces_sampler_arg=0.0) as traces:
        with traces.request(called_by("01")):
            kept = traces.current_context()
        with traces.request(HEAD):
            dropped = traces.current_context()
        traces.micro_batch_done(micro_batch(job(kept), job(dropped)))
        traces.micro_batch_done(micro_batch(job(dropped)))
    batch = collector.one("micro-batch")
    assert [link.trace_id for link in batch.links] == [CALLER_TRACE]


def test_a_batch_of_rows_is_a_trace_of_its_own_whose_micro_batches_name_the_watch(collector: Collector) -> None:
    with exporting(collector) as traces, traces.batch("public.items.embedding", rows=40, claim_s=0.5):
        with traces.span("read"):
            pass
        jobs = [job(traces.current_context(), 5, lane="ingest") for _ in range(2)]
        traces.micro_batch_done(micro_batch(*jobs))
    root = collector.one("batch")
    assert (root.kind, root.parent_id) == (CONSUMER, "")
    assert root.attributes == {"sidecar.watch": "public.items.embedding", "sidecar.rows": 40}
    names = [span.name for span in collector.children_of(root)]
    assert names == ["claim", "read", "queue", "device", "queue", "device"]
    claim = collector.one("claim")
    assert (claim.started_ns, claim.ended_ns) == (root.started_ns, root.started_ns + 500_000_000)
    assert claim.ended_ns <= collector.one("read").started_ns
    (link,) = collector.one("micro-batch").links
    assert link.span_id == root.span_id
    assert link.attributes == {"sidecar.lane": "ingest", "sidecar.units": 10, "sidecar.watch": "public.items.embedding"}


def test_an_error_is_recorded_by_class_never_by_message(collector: Collector) -> None:
    with exporting(collector) as traces:
        with suppress(ValueError), traces.request(replace(HEAD, route="/search")), traces.span("prepare"):
            context = traces.current_context()
            raise ValueError("the text of the request")
        with traces.request(HEAD) as request:
            request.record_status(503)
        with traces.request(replace(HEAD, route="/embed/image")) as request:
            request.record_status(422)
        traces.micro_batch_done(micro_batch(job(context), error="DeviceError"))
    for name, error in (
        ("prepare", "ValueError"),
        ("POST /search", "ValueError"),
        ("POST /embed/text", "503"),
        ("device", "DeviceError"),
        ("micro-batch", "DeviceError"),
    ):
        span = collector.one(name)
        assert (span.status, span.attributes["error.type"], span.events) == (ERROR, error, 0), name
        assert "text of" not in str(span)
    assert collector.one("POST /embed/image").status == 0


async def test_spans_of_tasks_and_threads_belong_to_the_request_that_started_them(collector: Collector) -> None:
    with exporting(collector) as traces:

        async def answer(number: int) -> None:
            with traces.request(replace(HEAD, route=f"/{number}")):
                await asyncio.create_task(work(number), name="work")
                await asyncio.to_thread(encode, number)

        async def work(number: int) -> None:
            with traces.span(f"task-{number}"):
                await asyncio.sleep(0)

        def encode(number: int) -> None:
            with traces.span(f"thread-{number}"):
                pass

        await asyncio.gather(*(answer(number) for number in range(5)))
        assert current_ids() is None
    for number in range(5):
        children = collector.children_of(collector.one(f"POST /{number}"))
        assert [span.name for span in children] == [f"task-{number}", f"thread-{number}"]


def test_a_span_outside_of_requests_and_batches_is_not_recorded(collector: Collector) -> None:
    with exporting(collector) as traces, traces.span("claim"):
        assert traces.current_context() is None
    assert collector.requests == []


def test_an_unknown_path_is_not_part_of_the_span_name(collector: Collector) -> None:
    with (
        exporting(collector) as traces,
        traces.request(RequestHead("BREW", None, "/" + "x" * 5000, "http", ())) as request,
    ):
        request.record_status(404)
    span = collector.one("HTTP")
    assert span.attributes["http.request.method"] == "_OTHER"
    assert len(span.attributes["url.path"]) == 256


def test_a_collector_that_is_down_costs_two_log_lines_at_most_and_no_time(caplog: pytest.LogCaptureFixture) -> None:
    port = find_free_port()
    traces = open_traces(Settings(otel_exporter_otlp_endpoint=f"http://127.0.0.1:{port}"))
    traces.start()
    began = time.monotonic()
    for _ in range(10_000):
        with traces.request(HEAD):
            pass
    recorded_s = time.monotonic() - began
    traces.close(timeout_s=0.5)
    assert time.monotonic() - began < recorded_s + 3
    ours = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(ours) <= 2, [record.getMessage() for record in ours]  # it takes none; the queue is full
    assert not any(record.exc_info for record in ours)


def test_a_hanging_collector_does_not_delay_close(collector: Collector) -> None:
    collector.may_respond.clear()
    traces = open_traces(Settings(otel_exporter_otlp_endpoint=collector.url))
    traces.start()
    with traces.request(HEAD):
        pass
    began = time.monotonic()
    traces.close(timeout_s=0.3)
    assert time.monotonic() - began < 3


def test_a_refusing_collector_is_warned_of_once_with_the_reason(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    collector.response_status = 401
    with exporting(collector, otel_exporter_otlp_headers="api-key=s3cret") as traces:
        for _ in range(2000):
            with traces.request(HEAD):
                pass
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1, messages
    assert messages[0].startswith(f"{collector.url} takes no traces, 512 spans are lost so far:")
    assert "401" in messages[0]
    assert "s3cret" not in messages[0]


def test_opentelemetry_is_not_imported_while_traces_are_off() -> None:
    program = (
        "import sys; from sidecar.telemetry.telemetry import Telemetry, open_traces;"
        "from sidecar.config import load_settings;"
        "Telemetry(traces=open_traces(load_settings({})));"
        "sys.exit(str([name for name in sys.modules if name.startswith('opentelemetry')] or ''))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stderr.strip() == ""


def test_without_a_collector_nothing_is_recorded() -> None:
    traces = open_traces(Settings())
    traces.start()
    with traces.request(called_by("01")) as request, traces.span("prepare"):
        assert (traces.enabled, traces.current_context(), current_ids()) == (False, None, None)
        request.record_status(200)
        assert list(request.response_headers) == []
    traces.close(timeout_s=0)
