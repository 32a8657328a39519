"""The endpoints of text-embeddings-inference: shapes, errors, and huggingface_hub's client unmodified."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import huggingface_hub.constants
import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from pydantic import SecretStr

import sidecar
from sidecar.batching.encoder import Encoder
from sidecar.config import Settings
from tests.encoders import HashEncoder
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.conftest import Serving, is_ready
from tests.integration.http.live_server import live_server
from tests.waiting import wait_until_async

ENCODER = HashEncoder()
LONG = "word " * 70
KEY = "a-key-for-embedding"


@pytest.fixture
async def client(serving: Serving) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(max_batch_texts=4, max_text_chars=600) as client:
        yield client


@pytest.mark.parametrize("path", ["/embed", "/", "/embed/"])
async def test_texts_get_a_list_of_vectors(client: httpx.AsyncClient, path: str) -> None:
    options: dict[str, Any] = {
        "truncate": True,
        "normalize": True,
        "prompt_name": None,
        "truncation_direction": "Right",
    }
    one = await client.post(path, json={"inputs": "a", **options})
    np.testing.assert_array_equal(np.array(one.json(), np.float32), [ENCODER.vector_of("a")])
    answer = await client.post(path, json={"inputs": ["a", "b c"], **options})
    expected = [ENCODER.vector_of(text) for text in ("a", "b c")]
    np.testing.assert_array_equal(np.array(answer.json(), np.float32), expected)
    assert answer.headers["x-compute-tokens"] == "3"
    assert answer.headers["x-sidecar-fingerprint"] == ENCODER.fingerprint


@pytest.mark.parametrize("option", [{"normalize": False}, {"dimensions": 1152}, {"truncate": None}, {"unknown": 1}])
async def test_options_without_effect_are_accepted(client: httpx.AsyncClient, option: dict[str, Any]) -> None:
    answer = await client.post("/embed", json={"inputs": "a", **option})
    np.testing.assert_array_equal(np.float32(answer.json()[0]), ENCODER.vector_of("a"))


async def test_similarities_are_cosines_with_the_source_sentence(client: httpx.AsyncClient) -> None:
    inputs = {"source_sentence": "a", "sentences": ["b", "a"]}
    answer = (await client.post("/similarity", json={"inputs": inputs, "parameters": {"truncate": True}})).json()
    cosine = float(np.dot(ENCODER.vector_of("a"), ENCODER.vector_of("b")))
    np.testing.assert_allclose(answer, [cosine, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("body", "status", "kind", "message"),
    [
        ({}, 422, "Validation", "The body has no field `inputs`."),
        ({"inputs": ""}, 422, "Empty", "`inputs` is empty"),
        ({"inputs": []}, 422, "Empty", "`inputs` is empty"),
        ({"inputs": ["a", " "]}, 422, "Empty", "`inputs[1]` is empty"),
        ({"inputs": ["a"] * 5}, 422, "Validation", "`inputs` has 5 texts (MAX_BATCH_TEXTS); at most 4"),
        ({"inputs": [1, 2]}, 422, "Validation", "`inputs`: Token ids are not read"),
        ({"inputs": LONG, "truncate": False}, 422, "Validation", "`inputs` is longer than the model reads"),
        ({"inputs": ["a", LONG], "truncate": False}, 422, "Validation", "`inputs[1]` is longer than the model reads"),
        ({"inputs": "a", "truncation_direction": "Left"}, 422, "Validation", "`truncation_direction` must be 'right'"),
        ({"inputs": "a", "dimensions": 8}, 422, "Validation", "`dimensions` is 8; the vectors here have 1152"),
        ({"inputs": "a", "prompt_name": "query"}, 422, "Validation", "`prompt_name`: The model has no prompts"),
    ],
)
async def test_errors_have_the_shape_of_text_embeddings_inference(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, kind: str, message: str
) -> None:
    for path in ("/embed", "/"):
        answer = await client.post(path, json=body)
        error = answer.json()
        assert (answer.status_code, set(error), error["error_type"]) == (status, {"error", "error_type"}, kind)
        assert error["error"].startswith(message)
        assert int(answer.headers["content-length"]) == len(answer.content)


async def test_errors_of_keys_bodies_and_overload_have_the_same_shape(
    serving: Serving,
) -> None:
    async with serving(api_keys=SecretStr(f"embed:{KEY}"), max_body_bytes=2000) as client:
        answer = await client.post("/embed", json={"inputs": "a"})
        assert (answer.status_code, answer.json()["error_type"]) == (401, "Validation")
        assert answer.headers["www-authenticate"] == "Bearer"
        client.headers["authorization"] = f"Bearer {KEY}"
        answer = await client.post("/embed", json={"inputs": "a" * 3000})
        assert (answer.status_code, answer.json()["error_type"]) == (413, "Validation")
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder, query_queue_views=80) as client:
        encoder.hold()
        jobs = [asyncio.create_task(client.post("/embed", json={"inputs": "on the device"}))]
        await asyncio.to_thread(encoder.entered.wait, 10)
        jobs.append(asyncio.create_task(client.post("/embed", json={"inputs": [f"text {n}" for n in range(80)]})))

        async def lane_is_full() -> bool:
            return bool((await client.get("/status")).json()["lanes"]["query"]["waiting"] == 80)

        await wait_until_async(lane_is_full, "a full lane")
        refused = await client.post("/embed", json={"inputs": "one more"})
        assert (refused.status_code, refused.json()["error_type"]) == (429, "Overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        encoder.release()
        await asyncio.gather(*jobs)


async def test_info_describes_the_served_model(client: httpx.AsyncClient) -> None:
    info = (await client.get("/info")).json()
    assert info.pop("tokenization_workers") >= 1
    assert info == {
        "model_id": "hash",
        "model_sha": ENCODER.fingerprint,
        "model_dtype": "float32",
        "served_model_name": "hash",
        "model_type": {"embedding": {"pooling": "model"}},
        "max_concurrent_requests": 1024,
        "max_input_length": 64,
        "max_batch_tokens": 2048,
        "max_batch_requests": 32,
        "max_client_batch_size": 4,
        "auto_truncate": True,
        "version": sidecar.__version__,
        "sha": None,
        "docker_label": None,
    }


@pytest.mark.parametrize("path", ["/health", "/ping", "/", "/health/"])
async def test_health_is_200_once_ready_and_503_before(serving: Serving, path: str) -> None:
    async with serving() as client:
        answer = await client.get(path)
        assert (answer.status_code, set(answer.json())) == (200, {"unix"})
        assert (await client.head(path)).status_code == 200

    may_load = threading.Event()

    def load(_settings: Settings) -> Encoder:
        assert may_load.wait(10)
        return HashEncoder()

    async with serving(load, await_ready=False) as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["error_type"]) == (503, "Unhealthy")
        assert (await client.post("/embed", json={"inputs": "a"})).json()["error_type"] == "Unhealthy"
        may_load.set()
        await wait_until_async(lambda: is_ready(client), "/readyz")


async def test_huggingface_hubs_client_embeds_and_compares_unmodified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # otherwise it refuses even loopback

    def ask(url: str) -> tuple[Any, Any, list[float], str]:
        client = InferenceClient(model=url, token=KEY)
        one = client.feature_extraction("a red bicycle", normalize=True, truncate=True)
        several = client.feature_extraction(["a", "b"])
        alike = InferenceClient(model=f"{url}/similarity", token=KEY).sentence_similarity("a", other_sentences=["a"])
        with pytest.raises(HfHubHTTPError) as refused:
            client.feature_extraction(["a", ""])
        return one, several, alike, str(refused.value)

    async with live_server(HashEncoder(), api_keys=SecretStr(f"embed:{KEY}")) as port:
        one, several, alike, refusal = await asyncio.to_thread(ask, f"http://127.0.0.1:{port}")
    np.testing.assert_array_equal(one, [ENCODER.vector_of("a red bicycle")])
    np.testing.assert_array_equal(several, [ENCODER.vector_of("a"), ENCODER.vector_of("b")])
    np.testing.assert_allclose(alike, [1], atol=1e-6)
    assert "`inputs[1]` is empty" in refusal
