"""Which requests count for the objectives, as /status and /metrics report them."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from sidecar.batching.encoder import Encoder
from sidecar.config import Settings
from tests.encoders import HashEncoder
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.conftest import Serving, is_ready
from tests.integration.http.pictures import picture
from tests.waiting import wait_until_async


async def objectives_of(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/status")).json()["objectives"]
    return found


async def test_only_answered_queries_count_for_latency(serving: Serving) -> None:
    async with serving(slo_query_p95_ms=100, slo_lag_p95_s=7, slo_availability=0.99) as client:
        before = await objectives_of(client)
        assert before["query_latency"]["windows"]["5m"]["events"] == 0
        for text in ("a", "b", "c"):
            await client.post("/embed/text", json={"text": text})
        await client.post("/embed/image", files={"file": picture()})
        await client.post("/embed/text", json={"text": ""})
        await client.post("/embed/text", content=b"{")
        await client.get("/nothing")
        await client.get("/readyz")
        await client.get("/v1/models")
        after = await objectives_of(client)
    latency, availability = after["query_latency"], after["availability"]
    assert (latency["target"], latency["threshold_s"]) == (0.95, 0.1)
    assert (after["lag"]["target"], after["lag"]["threshold_s"], after["lag"]["budget_left"]) == (0.95, 7, None)
    assert (availability["target"], availability["threshold_s"]) == (0.99, None)
    for objective in (latency, availability):
        assert {name: window["events"] for name, window in objective["windows"].items()} == dict.fromkeys(
            ("5m", "1h", "6h", "3d"), 4
        )
    assert 0 < latency["windows"]["5m"]["p50_s"] <= latency["windows"]["5m"]["p95_s"] < 60
    assert (availability["budget_left"], availability["windows"]["1h"]["burn_rate"]) == (1, 0)
    assert 0 < latency["windows"]["3d"]["covered_s"] < 60


async def test_a_request_of_thousands_of_texts_does_not_count_for_latency(
    serving: Serving,
) -> None:
    async with serving() as client:
        for texts in (["a"] * 300, ["a"] * 256):
            assert (await client.post("/v1/embeddings", json={"input": texts})).status_code == 200
        after = await objectives_of(client)
    assert after["query_latency"]["windows"]["5m"]["events"] == 1
    assert after["availability"]["windows"]["5m"]["events"] == 2


async def test_metrics_and_status_report_the_same_objectives(client: httpx.AsyncClient) -> None:
    page = (Path(__file__).parents[3] / "docs" / "monitoring.md").read_text()
    (example,) = re.findall(r"```json\n(\{\"objectives.+?)```", page, re.DOTALL)
    shown, answered = json.loads(example)["objectives"], await objectives_of(client)
    assert shown.keys() == answered.keys()
    shown, answered = shown["query_latency"], answered["query_latency"]
    assert shown.keys() == answered.keys()
    assert shown["windows"].keys() == answered["windows"].keys()
    assert shown["windows"]["5m"].keys() == answered["windows"]["5m"].keys()
    assert shown["windows"]["5m"]["burn_rate"] == pytest.approx(31 / 1840 / 0.05, abs=0.001)


async def test_rejections_and_deadlines_use_up_the_budget(serving: Serving) -> None:
    encoder = BlockingEncoder()
    async with serving(
        lambda _settings: encoder, query_queue_views=1, enable_tta=False, request_timeout_s=3.0, query_cache_bytes=0
    ) as client:
        encoder.hold()
        running = asyncio.create_task(client.post("/embed/text", json={"text": "a"}), name="running")
        await asyncio.to_thread(encoder.entered.wait, 10)
        waiting = asyncio.create_task(client.post("/embed/text", json={"text": "b"}), name="waiting")
        await wait_until_async(lambda: _is_full(client), "the lane to be full")
        refused = await client.post("/embed/text", json={"text": "c"})
        late = await asyncio.gather(running, waiting)
        encoder.release()
        objectives = await objectives_of(client)
        metrics = (await client.get("/metrics")).text
    assert (refused.status_code, [answer.status_code for answer in late]) == (429, [504, 504])
    availability, latency = objectives["availability"]["windows"]["5m"], objectives["query_latency"]["windows"]["5m"]
    assert (availability["events"], availability["bad"], latency["events"], latency["bad"]) == (3, 3, 2, 2)
    assert objectives["availability"]["budget_left"] < 0
    assert 'sidecar_objective_events_total{objective="availability",result="bad"} 3.0' in metrics.splitlines()


async def test_queries_while_the_model_loads_count_as_unavailable_and_probes_do_not(serving: Serving) -> None:
    may_load = threading.Event()

    def load(_settings: Settings) -> Encoder:
        assert may_load.wait(10)
        return HashEncoder()

    async with serving(load, await_ready=False) as client:
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.post("/embed/text", json={"text": "a"})).status_code == 503
        availability = (await objectives_of(client))["availability"]["windows"]["5m"]
        may_load.set()
        await wait_until_async(lambda: is_ready(client), "/readyz")
    assert (availability["events"], availability["bad"]) == (1, 1)


async def _is_full(client: httpx.AsyncClient) -> bool:
    query = (await client.get("/status")).json()["lanes"]["query"]
    return bool(query["waiting"] == query["capacity"])
