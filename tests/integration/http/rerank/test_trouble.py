"""Reranking while the model is loading, broken or absent, while the device is busy, and when clients disconnect."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from sidecar.concurrency import cancel_and_wait
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.http.live_server import live_server
from tests.integration.http.rerank.tiny_reranker import DOCUMENTS, QUERY, TinyReranker
from tests.tiny_models.cross_encoder import make_tiny_cross_encoder
from tests.waiting import wait_until_async

BODY = {"query": QUERY, "documents": DOCUMENTS}
PAIRS = len(set(DOCUMENTS))


def times_loaded(caplog: pytest.LogCaptureFixture) -> int:
    return sum(" to rerank on " in record.message for record in caplog.records)


async def until_loaded(caplog: pytest.LogCaptureFixture) -> None:
    async def is_loaded() -> bool:
        return times_loaded(caplog) > 0

    await wait_until_async(is_loaded, "the model to be loaded", 60)


async def state(client: httpx.AsyncClient) -> str:
    return str((await client.get("/status")).json()["rerank"])


async def test_the_first_requests_load_the_model_once(
    serving: Serving, reranker: TinyReranker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sidecar.model")
    async with serving(**reranker.settings) as client:
        assert times_loaded(caplog) == 0
        assert await state(client) == "not loaded yet"
        answers = await asyncio.gather(*(client.post("/v2/rerank", json=BODY) for _ in range(8)))
        assert await state(client) == "loaded"
    assert [answer.status_code for answer in answers] == [200] * 8
    assert len({json.dumps(answer.json()["results"]) for answer in answers}) == 1
    assert times_loaded(caplog) == 1


async def test_the_model_can_be_loaded_at_start(
    serving: Serving, reranker: TinyReranker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sidecar.model")
    async with serving(rerank="start", **reranker.settings) as client:
        await until_loaded(caplog)
        assert (await client.post("/v2/rerank", json=BODY)).status_code == 200
    assert times_loaded(caplog) == 1


@pytest.mark.parametrize("rerank", ["first_use", "start"])
async def test_a_model_that_cannot_be_loaded_is_503_and_other_endpoints_work(
    serving: Serving, tmp_path: Path, rerank: str
) -> None:
    changes: dict[str, Any] = {"rerank_model_id": f"local-dir:{tmp_path}/nowhere", "require_cuda": False}
    async with serving(rerank=rerank, **changes) as client:
        first = await client.post("/v2/rerank", json=BODY)
        make_tiny_cross_encoder(tmp_path / "nowhere")
        again = await client.post("/rerank", json={"query": QUERY, "texts": DOCUMENTS})
        reason = f"The reranking model cannot be loaded: RERANK_MODEL_ID=local-dir:{tmp_path}/nowhere: there is no such"
        for refused in (first, again):  # loading is not retried at once
            assert_error(refused, 503, "rerank_model_failed", reason)
            assert 1 <= int(refused.headers["retry-after"]) <= 5
        assert (await state(client)).startswith("failed: RERANK_MODEL_ID=local-dir:")
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post("/embed/text", json={"text": "a"})).status_code == 200


async def test_a_full_lane_is_429_and_queries_are_unaffected(serving: Serving, reranker: TinyReranker) -> None:
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder, rerank_queue_pairs=PAIRS, **reranker.settings) as client:
        assert (await client.post("/v2/rerank", json=BODY)).status_code == 200
        encoder.hold()
        busy = asyncio.create_task(client.post("/embed/text", json={"text": "busy"}), name="busy")
        await asyncio.to_thread(encoder.entered.wait, 10)
        waiting = asyncio.create_task(client.post("/v2/rerank", json=BODY), name="waiting")
        await wait_until_async(lambda: waits(client, PAIRS), "the rerank lane to be full")
        refused = await client.post("/rerank", json={"query": QUERY, "texts": ["one more"]})
        assert_error(refused, 429, "overloaded", f"The rerank queue is full: {PAIRS} pairs are waiting, 1 more do")
        assert int(refused.headers["retry-after"]) >= 1
        unread = await client.post("/v2/rerank", content=b"{", headers={"Content-Type": "application/json"})
        assert_error(unread, 429, "overloaded", "The rerank queue is full")
        query = asyncio.create_task(client.post("/embed/text", json={"text": "a query"}), name="query")
        encoder.release()
        assert [(await task).status_code for task in (busy, waiting, query)] == [200] * 3


async def waits(client: httpx.AsyncClient, pairs: int) -> bool:
    lane = (await client.get("/status")).json()["lanes"]["rerank"]
    return bool(lane["waiting"] == pairs and lane["reserved"] == 0)


async def test_a_request_that_takes_too_long_is_504_and_its_pairs_are_dropped(
    serving: Serving, reranker: TinyReranker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sidecar.model")
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder, request_timeout_s=4, rerank="start", **reranker.settings) as client:
        await until_loaded(caplog)
        encoder.hold()
        busy = asyncio.create_task(client.post("/embed/text", json={"text": "busy"}), name="busy")
        await asyncio.to_thread(encoder.entered.wait, 10)
        late = asyncio.create_task(client.post("/v2/rerank", json=BODY), name="late")
        await wait_until_async(lambda: waits(client, PAIRS), "the pairs to wait")
        assert_error(await late, 504, "timeout", "No answer within 4 s (REQUEST_TIMEOUT_S).")
        assert await waits(client, 0)
        encoder.release()
        await busy


async def test_the_pairs_of_a_disconnected_client_are_dropped(
    reranker: TinyReranker, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = BlockingEncoder()
    async with live_server(encoder, **reranker.settings) as port:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            assert (await client.post("/v2/rerank", json=BODY)).status_code == 200
            encoder.hold()
            busy = asyncio.create_task(client.post("/embed/text", json={"text": "busy"}), name="busy")
            await asyncio.to_thread(encoder.entered.wait, 10)
            async with httpx.AsyncClient(base_url=url) as leaving:
                left = asyncio.create_task(leaving.post("/v2/rerank", json=BODY), name="leaving")
                await wait_until_async(lambda: waits(client, PAIRS), "the pairs to wait")
                await cancel_and_wait([left])
            await wait_until_async(lambda: waits(client, 0), "the pairs to be dropped")
            encoder.release()
            assert (await busy).status_code == 200
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
