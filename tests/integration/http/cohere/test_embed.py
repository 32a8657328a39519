"""`/v2/embed` and `/v1/embed`: Cohere's shapes, and its client unmodified."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import cohere
import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from tests.encoders import HashEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.http.live_server import live_server
from tests.integration.http.pictures import data_uri, picture, vector_of_picture

ENCODER = HashEncoder()
RED = data_uri(picture("red"))
LONG = "word " * 70
KEY = "a-key-of-the-test-0123456789"  # not a secret
EVERY_TYPE = ["float", "base64", "binary", "ubinary"]


@pytest.fixture
async def client(serving: Serving) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(max_batch_texts=4, max_batch_images=2, max_text_chars=600) as client:
        yield client


async def embed(client: httpx.AsyncClient, path: str = "/v2/embed", **body: Any) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("version", ["1", "2"])
async def test_texts_are_embedded_in_every_requested_type(client: httpx.AsyncClient, version: str) -> None:
    options = {"model": "hash", "input_type": "search_document", "embedding_types": EVERY_TYPE, "truncate": "END"}
    answer = await embed(client, f"/v{version}/embed", texts=["a", "b c"], priority=1, **options)
    vectors = np.stack([ENCODER.vector_of("a"), ENCODER.vector_of("b c")])
    by_type = answer["embeddings"]
    assert set(by_type) == set(EVERY_TYPE)
    np.testing.assert_array_equal(np.array(by_type["float"], np.float32), vectors)
    decoded = [np.frombuffer(base64.b64decode(each, validate=True), "<f4") for each in by_type["base64"]]
    np.testing.assert_array_equal(decoded, vectors)
    bits = np.packbits(vectors > 0, axis=1)
    np.testing.assert_array_equal(by_type["ubinary"], bits)
    np.testing.assert_array_equal(by_type["binary"], bits.astype(int) - 128)
    assert answer["response_type"] == "embeddings_by_type"
    assert answer["texts"] == ["a", "b c"]
    units = {"input_tokens": 3, "images": 0}
    assert answer["meta"] == {"api_version": {"version": version}, "billed_units": units}


async def test_version_1_without_types_returns_a_plain_list(client: httpx.AsyncClient) -> None:
    answer = await embed(client, "/v1/embed", texts=["a"])
    assert answer["response_type"] == "embeddings_floats"
    np.testing.assert_array_equal(np.array(answer["embeddings"], np.float32), [ENCODER.vector_of("a")])


async def test_version_2_without_types_returns_floats(client: httpx.AsyncClient) -> None:
    assert set((await embed(client, texts=["a"]))["embeddings"]) == {"float"}


async def test_pictures_are_embedded_from_data_uris(client: httpx.AsyncClient) -> None:
    answer = await embed(client, images=[RED], input_type="image", embedding_types=["float"])
    assert answer["embeddings"]["float"] == [await vector_of_picture(client, picture("red"))]
    assert answer["texts"] == []
    assert answer["meta"]["billed_units"] == {"input_tokens": 0, "images": 1}


async def test_texts_and_pictures_may_be_mixed_as_inputs(client: httpx.AsyncClient) -> None:
    inputs = [
        {"content": [{"type": "image_url", "image_url": {"url": RED}}]},
        {"content": [{"type": "text", "text": "a"}]},
    ]
    picture_vector, text_vector = (await embed(client, inputs=inputs))["embeddings"]["float"]
    assert picture_vector == await vector_of_picture(client, picture("red"))
    np.testing.assert_array_equal(np.float32(text_vector), ENCODER.vector_of("a"))


async def test_a_data_uri_among_texts_is_a_text(client: httpx.AsyncClient) -> None:
    (vector,) = (await embed(client, texts=[RED[:100]]))["embeddings"]["float"]
    np.testing.assert_array_equal(np.float32(vector), ENCODER.vector_of(RED[:100]))


async def test_bits_are_documented_as_whole_numbers(client: httpx.AsyncClient) -> None:
    types = ["float", "ubinary", "binary"]
    answered = (await embed(client, texts=["a"], embedding_types=types))["embeddings"]
    documented = (await client.get("/openapi.json")).json()["components"]["schemas"]["EmbeddingsByType"]["properties"]
    found = {}
    for name in types:
        (numbers,) = (each["items"]["items"] for each in documented[name]["anyOf"] if each["type"] == "array")
        assert all(numbers.get("minimum", -1) <= number <= numbers.get("maximum", 1) for number in answered[name][0])
        found[name] = numbers["type"]
    assert found == {"float": "number", "ubinary": "integer", "binary": "integer"}


async def test_truncation_is_reported_or_rejected(client: httpx.AsyncClient) -> None:
    answer = await embed(client, texts=["a", LONG])
    assert answer["meta"]["warnings"] == ["Longer than the model reads, and cut: texts[1]."]
    refused = await client.post("/v2/embed", json={"texts": ["a", LONG], "truncate": "NONE"})
    assert_error(refused, 422, "text_too_long", "`texts[1]` is longer than the model reads", "texts[1]")
    refused = await client.post("/v2/embed", json={"texts": ["a b c"], "max_tokens": 2})
    assert_error(refused, 422, "text_too_long", "`texts[0]` has 3 tokens, more than `max_tokens`, 2.", "texts[0]")
    await embed(client, texts=["a b c"], max_tokens=512, output_dimension=1152)


PARTS = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]


@pytest.mark.parametrize(
    ("body", "status", "code", "message", "param"),
    [
        ({}, 422, "missing_field", "The body needs one of `texts`, `images` and `inputs`; it has 0", None),
        ({"texts": ["a"], "images": [RED]}, 422, "missing_field", "The body needs one of `texts`,", None),
        ({"texts": []}, 422, "empty_list", "`texts` is empty", "texts"),
        ({"texts": ["a", ""]}, 422, "empty_text", "`texts[1]` is empty", "texts[1]"),
        ({"texts": ["a"] * 5}, 422, "too_many_texts", "`texts` has 5 texts", "texts"),
        ({"images": [RED] * 3}, 422, "too_many_pictures", "`images` has 3 pictures", "images"),
        ({"images": ["a"]}, 422, "invalid_image_reference", "`images[0]` must be the data URI", "images[0]"),
        (
            {"texts": ["a"], "output_dimension": 256},
            *(422, "dimensions_not_supported", "`output_dimension` is 256;", "output_dimension"),
        ),
        (
            {"texts": ["a"], "embedding_types": ["float", "int8"]},
            *(422, "embedding_type_not_supported", "`embedding_types[1]` is 'int8'.", "embedding_types[1]"),
        ),
        (
            {"texts": ["a"], "embedding_types": ["half"]},
            *(422, "wrong_value", "`embedding_types[0]` must be", "embedding_types[0]"),
        ),
        ({"texts": ["a"], "truncate": "START"}, 422, "wrong_value", "`truncate` must be 'NONE' or 'END'", "truncate"),
        ({"inputs": [{"content": PARTS}]}, 422, "too_long", "`inputs[0].content` has 2 items", "inputs[0].content"),
        ({"texts": ["a"], "model": "embed-v4.0"}, 404, "model_not_found", "The model 'embed-v4.0' is not", "model"),
    ],
)
async def test_an_input_that_cannot_be_embedded_is_named(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, code: str, message: str, param: str | None
) -> None:
    for path in ("/v1/embed", "/v2/embed"):
        assert_error(await client.post(path, json=body), status, code, message, param)


async def test_coheres_client_embeds_texts_and_pictures_unmodified() -> None:
    texts = [f"text {number}" for number in range(100)]  # version 1 of the client sends 96 at a time

    def ask(url: str) -> tuple[Any, Any, Any]:
        with httpx.Client() as connections:
            second = cohere.ClientV2(api_key=KEY, base_url=url, httpx_client=connections)
            first = cohere.Client(api_key=KEY, base_url=url, httpx_client=connections)
            kinds = ["float", "ubinary", "base64"]
            return (
                second.embed(model="hash", input_type="search_query", texts=["a"], embedding_types=kinds),
                second.embed(model="hash", input_type="image", images=[RED], embedding_types=["float"]),
                first.embed(model="hash", input_type="search_document", texts=texts),
            )

    async with live_server(HashEncoder(), api_keys=SecretStr(KEY)) as port:
        of_text, of_picture, of_texts = await asyncio.to_thread(ask, f"http://127.0.0.1:{port}")
    np.testing.assert_array_equal(np.float32(of_text.embeddings.float_[0]), ENCODER.vector_of("a"))
    assert len(of_text.embeddings.ubinary[0]) == 1152 // 8
    assert len(of_picture.embeddings.float_[0]) == 1152
    np.testing.assert_array_equal(np.float32(of_texts.embeddings), [ENCODER.vector_of(text) for text in texts])
