"""Requests with OpenAI's 2,048 inputs under default settings, and queries beside them."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import numpy as np
import pytest

from tests.encoders import HashEncoder
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.http.live_server import live_server

DIMENSIONS = 16
TEXTS = [f"text {number}" for number in range(2048)]
EXPECTED = np.stack([HashEncoder(dimensions=DIMENSIONS).vector_of(text) for text in TEXTS])


def small(_settings: object) -> HashEncoder:
    return HashEncoder(dimensions=DIMENSIONS)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": TEXTS}),
        ("/v1/embeddings", {"input": TEXTS, "encoding_format": "base64"}),
        ("/embeddings", {"input": TEXTS, "modality": "text"}),
        ("/embed/text/batch", {"texts": TEXTS}),
        ("/embed", {"inputs": TEXTS}),
        ("/v2/embed", {"texts": TEXTS, "embedding_types": ["float"]}),
    ],
    ids=["floats", "base64", "infinity", "batch", "tei", "cohere"],
)
async def test_2048_texts_are_answered_in_order(serving: Serving, path: str, body: dict[str, Any]) -> None:
    async with serving(small) as client:
        answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(vectors_of(answer.json()), EXPECTED)


def vectors_of(answer: Any) -> Any:
    if isinstance(answer, list):
        return np.array(answer, np.float32)
    if "data" in answer:
        assert [item["index"] for item in answer["data"]] == list(range(len(answer["data"])))
        found = [item["embedding"] for item in answer["data"]]
        if isinstance(found[0], str):
            return np.stack([np.frombuffer(base64.b64decode(each), "<f4") for each in found])
        return np.array(found, np.float32)
    found = answer["embeddings"]
    return np.array(found["float"] if isinstance(found, dict) else found, np.float32)


async def test_2049_texts_are_rejected(serving: Serving) -> None:
    async with serving(small) as client:
        answer = await client.post("/v1/embeddings", json={"input": [*TEXTS, "a"]})
        message = "`input` has 2049 texts (MAX_BATCH_TEXTS); at most 2048 go in a request."
        assert_error(answer, 422, "too_many_texts", message, "input")


async def test_texts_may_contain_any_number_of_braces_and_commas(serving: Serving) -> None:
    code = '{"a": [1, 2, {"b": "\\\\"}]}, ' * 30  # with quotes and backslashes that JSON escapes
    async with serving(small) as client:
        answer = await client.post("/v1/embeddings", json={"input": [f"{text} {code}" for text in TEXTS[:2000]]})
    assert answer.status_code == 200, answer.text[:200]
    assert len(answer.json()["data"]) == 2000


async def test_queries_are_answered_while_a_large_request_waits() -> None:
    encoder = HashEncoder(dimensions=DIMENSIONS)
    async with (
        live_server(encoder, query_cache_bytes=0) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        large = [asyncio.create_task(client.post("/v1/embeddings", json={"input": TEXTS})) for _ in range(3)]
        for number in range(30):
            answer = await client.post("/embed/text", json={"text": f"query {number}"})
            assert answer.status_code == 200, answer.text
        answers = await asyncio.gather(*large)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert encoder.calls


async def test_one_bad_text_rejects_the_request_before_anything_is_encoded(serving: Serving) -> None:
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder) as client:
        calls = len(encoder.calls)
        texts = [*TEXTS[:2000], " ", *TEXTS[2001:]]
        answer = await client.post("/v1/embeddings", json={"input": texts})
        assert_error(answer, 422, "empty_text", "`input[2000]` is empty;", "input[2000]")
        assert len(encoder.calls) == calls


async def test_after_its_deadline_no_more_of_a_request_is_encoded(serving: Serving) -> None:
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder, request_timeout_s=2) as client:
        encoder.hold()
        answer = await client.post("/v1/embeddings", json={"input": TEXTS})
        assert_error(answer, 504, "timeout", "No answer within 2 s (REQUEST_TIMEOUT_S).")
        calls = len(encoder.calls)
        encoder.release()
        assert (await client.post("/embed/text", json={"text": "a"})).status_code == 200
        assert len(encoder.calls) <= calls + 2  # the batch on the device, and the text
