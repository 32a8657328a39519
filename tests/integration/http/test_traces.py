"""Traces of the whole service, as a collector receives them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr

from sidecar.errors import DeviceError
from tests.collector import ERROR, Collector, ReceivedSpan, running_collector
from tests.encoders import HashEncoder, TimedEncoder
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.live_server import live_server
from tests.integration.http.pictures import picture
from tests.integration.ingest.watched_table import run, user, watch
from tests.waiting import wait_until_async

CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


def names(spans: list[ReceivedSpan]) -> list[str]:
    return sorted(span.name for span in spans)


def contains(outer: ReceivedSpan, inner: ReceivedSpan) -> bool:
    """Within 20 ms: some times come from another clock, and a busy machine pauses between readings of the two."""
    slack_ns = 20_000_000
    return outer.started_ns - slack_ns <= inner.started_ns <= inner.ended_ns <= outer.ended_ns + slack_ns


async def test_a_request_has_spans_for_its_stages_in_its_callers_trace(serving: Serving, collector: Collector) -> None:
    async with serving(otel_exporter_otlp_endpoint=collector.url) as client:
        parent = {"traceparent": f"00-{CALLER_TRACE}-{CALLER_SPAN}-01", "tracestate": "vendor=1"}
        text = await client.post("/embed/text", json={"text": "a red bicycle"}, headers=parent)
        await client.post("/embed/image", files={"file": picture()})
    of_text, of_picture = collector.one("POST /embed/text"), collector.one("POST /embed/image")
    assert (of_text.trace_id, of_text.parent_id) == (CALLER_TRACE, CALLER_SPAN)
    assert text.headers["traceresponse"] == f"00-{CALLER_TRACE}-{of_text.span_id}-01"
    assert of_text.attributes["sidecar.request_id"] == text.headers["x-request-id"]
    assert of_picture.trace_id != CALLER_TRACE
    assert names(collector.children_of(of_text)) == ["device", "prepare", "queue"]
    assert set(names(collector.children_of(of_picture))) >= {"decode", "device", "queue"}
    for request in (of_text, of_picture):
        assert all(contains(request, child) for child in collector.children_of(request))
        assert {span.attributes["sidecar.lane"] for span in collector.children_of(request)} == {"query"}
        assert request.attributes["http.response.status_code"] == 200
    assert "bicycle" not in repr(collector.spans)


async def test_every_request_is_linked_to_the_micro_batch_that_carried_it(
    serving: Serving, collector: Collector
) -> None:
    async with serving(
        lambda _settings: TimedEncoder(view_ms=5), otel_exporter_otlp_endpoint=collector.url, query_cache_bytes=0
    ) as client:
        await asyncio.gather(*(client.post("/embed/text", json={"text": f"number {n}"}) for n in range(24)))
    requests, batches = collector.named("POST /embed/text"), collector.named("micro-batch")
    assert len(batches) < len(requests) == 24
    carried = [link.span_id for batch in batches for link in batch.links]
    assert sorted(carried) == sorted(request.span_id for request in requests)
    by_id = {batch.span_id: batch for batch in batches}
    for request in requests:
        stages = {span.name: span for span in collector.children_of(request)}
        (link,) = stages["device"].links
        batch = by_id[link.span_id]
        assert request.span_id in {linked.span_id for linked in batch.links}
        assert stages["queue"].ended_ns == stages["device"].started_ns == batch.started_ns
        assert stages["device"].ended_ns == batch.ended_ns
        assert stages["queue"].started_ns >= stages["prepare"].started_ns
        assert contains(request, stages["queue"])
    assert all(batch.ended_ns - batch.started_ns >= 5_000_000 * len(batch.links) for batch in batches)
    assert sum(batch.attributes["sidecar.units"] for batch in batches) == 24


async def test_a_device_that_fails_is_an_error_of_its_micro_batch_and_of_the_request(
    serving: Serving, collector: Collector
) -> None:
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder, otel_exporter_otlp_endpoint=collector.url) as client:
        encoder.fault = lambda: DeviceError("the text was: bicycle")
        assert (await client.post("/embed/text", json={"text": "bicycle"})).status_code == 503
    request = collector.one("POST /embed/text")
    assert (request.status, request.attributes["error.type"]) == (ERROR, "503")
    for name in ("device", "micro-batch"):
        assert (collector.one(name).status, collector.one(name).attributes["error.type"]) == (ERROR, "DeviceError")
    assert "bicycle" not in repr(collector.spans)


async def test_client_errors_are_no_span_errors_and_unknown_paths_name_no_span(
    serving: Serving, collector: Collector
) -> None:
    async with serving(otel_exporter_otlp_endpoint=collector.url) as client:
        await client.post("/embed/text", json={"text": ""})
        await client.get("/nothing/here?key=s3cret")
        await client.get("/embed/text")
    assert [span.name for span in collector.spans if not span.parent_id] == [
        "POST /embed/text",
        "GET",
        "GET /embed/text",
    ]
    assert [span.status for span in collector.spans] == [0] * len(collector.spans)
    assert "s3cret" not in repr(collector.spans)


async def test_a_request_that_times_out_in_the_queue_has_a_span_of_its_wait(
    serving: Serving, collector: Collector
) -> None:
    encoder = BlockingEncoder()
    async with serving(
        lambda _settings: encoder, otel_exporter_otlp_endpoint=collector.url, request_timeout_s=0.5, query_cache_bytes=0
    ) as client:
        encoder.hold()
        running = asyncio.create_task(client.post("/embed/text", json={"text": "a"}), name="running")
        await asyncio.to_thread(encoder.entered.wait, 10)
        waiting = await client.post("/embed/text/batch", json={"texts": ["b", "c"]})
        await running
        encoder.release()
    assert waiting.status_code == 504
    request = collector.one("POST /embed/text/batch")
    (queue,) = [span for span in collector.children_of(request) if span.name == "queue"]
    assert (queue.attributes["error.type"], queue.attributes["sidecar.units"]) == ("dropped", 2)
    assert queue.ended_ns - queue.started_ns > 0.2e9
    assert contains(request, queue)


async def test_a_disconnect_is_no_error_and_ends_the_span(collector: Collector) -> None:
    encoder = BlockingEncoder()
    async with live_server(encoder, otel_exporter_otlp_endpoint=collector.url, query_cache_bytes=0) as port:
        encoder.hold()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /embed/text HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b'Content-Length: 13\r\n\r\n{"text": "a"}'
        )
        await asyncio.to_thread(encoder.entered.wait, 10)
        writer.close()
        await writer.wait_closed()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await wait_until_async(lambda: _counted(client, 'status="499"'), "the request to end")
        encoder.release()
    request = collector.one("POST /embed/text")
    assert (request.status, request.attributes["http.response.status_code"]) == (0, 499)


async def _counted(client: httpx.AsyncClient, label: str) -> bool:
    return label in (await client.get("/metrics")).text


async def test_probes_and_scrapes_have_no_spans(serving: Serving, collector: Collector) -> None:
    async with serving(otel_exporter_otlp_endpoint=collector.url) as client:
        for path in ("/livez", "/readyz", "/healthz", "/metrics"):
            assert "traceresponse" not in (await client.get(path)).headers
        assert "traceresponse" in (await client.get("/status")).headers
    assert [span.name for span in collector.spans] == ["GET /status"]


async def test_an_unsampled_trace_of_the_caller_is_not_recorded(serving: Serving, collector: Collector) -> None:
    async with serving(otel_exporter_otlp_endpoint=collector.url) as client:
        parent = {"traceparent": f"00-{CALLER_TRACE}-{CALLER_SPAN}-00"}
        answer = await client.post("/embed/text", json={"text": "a"}, headers=parent)
    assert answer.headers["traceresponse"].startswith(f"00-{CALLER_TRACE}-")
    assert answer.headers["traceresponse"].endswith("-00")
    assert collector.requests == []


async def test_without_an_endpoint_nothing_is_exported_and_answers_have_no_trace_header(
    serving: Serving, collector: Collector
) -> None:
    async with serving() as client:
        parent = {"traceparent": f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"}
        answer = await client.post("/embed/text", json={"text": "a"}, headers=parent)
    assert "traceresponse" not in answer.headers
    assert collector.requests == []


async def test_a_claimed_batch_is_a_trace_with_its_watch_and_its_micro_batches_are_linked_to_it(
    serving: Serving, collector: Collector, database_url: str
) -> None:
    async with user(database_url) as db:
        await run(db, "create table items (id int primary key, title text)")
        table = await watch(db, ("items",), ("title",))
        await run(db, "insert into items select n, 'secret ' || n from generate_series(1, 30) n")
        settings = {"database_url": SecretStr(database_url), "otel_exporter_otlp_endpoint": collector.url}
        async with serving(lambda _settings: HashEncoder(dimensions=16), **settings):
            await table.settle()
    batches = collector.named("batch")
    assert sum(batch.attributes["sidecar.rows"] for batch in batches) >= 30
    for batch in batches:
        assert batch.parent_id == ""
        assert batch.attributes["sidecar.watch"] == "public.items.embedding"
        children = collector.children_of(batch)
        assert {"claim", "read", "complete"} <= set(names(children))
        assert all(contains(batch, child) for child in children)
    embedded = [batch for batch in batches if "device" in names(collector.children_of(batch))]  # the others: no change
    assert {"prepare", "queue"} <= set(names(collector.children_of(embedded[0])))
    links = [link for micro_batch in collector.named("micro-batch") for link in micro_batch.links]
    assert {link.span_id for link in links} == {batch.span_id for batch in embedded}
    assert sum(link.attributes["sidecar.units"] for link in links) == 30
    assert {link.attributes["sidecar.watch"] for link in links} == {"public.items.embedding"}
    assert {span.name for span in collector.spans if not span.parent_id} == {"batch", "micro-batch"}
    assert "secret" not in repr(collector.spans)


@pytest.mark.parametrize("answer", [400, 503])
async def test_a_collector_that_rejects_affects_neither_requests_nor_their_time(
    serving: Serving, collector: Collector, answer: int, caplog: pytest.LogCaptureFixture
) -> None:
    collector.response_status = answer
    async with serving(otel_exporter_otlp_endpoint=collector.url, shutdown_timeout_s=3.0) as client:
        answers = [await client.post("/embed/text", json={"text": str(number)}) for number in range(20)]
        began_s = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began_s < 3
    assert {response.status_code for response in answers} == {200}
    assert collector.requests
    ours = [record.getMessage() for record in caplog.records if "traces" in record.getMessage()]
    assert len(ours) == 1, ours
