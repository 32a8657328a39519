"""`/v1/embeddings` and `/v1/models`: response shapes, rejections, and pictures in the formats of infinity and vLLM."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.encoders import HashEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.http.pictures import data_uri, picture, pixel_bomb, vector_of_picture

ENCODER = HashEncoder()
LONG = " ".join(f"word{number}" for number in range(70))


RED, BLUE = data_uri(picture("red")), data_uri(picture("blue"))


@pytest.fixture
async def client(serving: Serving) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(max_batch_texts=4, max_batch_images=2, max_text_chars=600, max_image_bytes=8_000) as client:
        yield client


async def embed(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post("/v1/embeddings", json=body)


async def test_a_text_gets_a_response_in_openais_shape(client: httpx.AsyncClient) -> None:
    response = await embed(client, input="a red bicycle", model="hash", user="ann")
    assert response.status_code == 200
    answer = response.json()
    vector = answer["data"][0].pop("embedding")
    assert answer == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0}],
        "model": "hash",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    np.testing.assert_array_equal(np.float32(vector), ENCODER.vector_of("a red bicycle"))
    assert response.headers["x-sidecar-fingerprint"] == ENCODER.fingerprint
    assert response.headers["x-sidecar-truncated"] == "0"


async def test_texts_get_vectors_in_order_and_the_token_count(client: httpx.AsyncClient) -> None:
    response = await embed(client, input=["b", LONG, "a"])
    answer = response.json()
    assert [item["index"] for item in answer["data"]] == [0, 1, 2]
    expected = [ENCODER.vector_of(text) for text in ("b", LONG, "a")]
    np.testing.assert_array_equal(np.array([item["embedding"] for item in answer["data"]], np.float32), expected)
    assert answer["usage"] == {"prompt_tokens": 1 + 64 + 1, "total_tokens": 66}
    assert response.headers["x-sidecar-truncated"] == "1"
    assert response.headers["x-sidecar-unreadable"] == "0"
    assert (await embed(client, input=["b", "ᏣᎳᎩ"])).headers["x-sidecar-unreadable"] == "1"
    assert (await embed(client, input=["b", LONG, "a"])).json() == answer  # from the cache too


async def test_null_counts_as_absent(client: httpx.AsyncClient) -> None:
    optional = ("model", "encoding_format", "dimensions", "modality", "user", "messages")
    answer = await embed(client, input="a", **dict.fromkeys(optional))
    assert answer.json() == (await embed(client, input="a")).json()


async def test_base64_encodes_little_endian_float32(client: httpx.AsyncClient) -> None:
    answer = (await embed(client, input=["a", "b"], encoding_format="base64", dimensions=1152)).json()
    for item, text in zip(answer["data"], "ab", strict=True):
        vector = np.frombuffer(base64.b64decode(item["embedding"], validate=True), "<f4")
        np.testing.assert_array_equal(vector, ENCODER.vector_of(text))


@pytest.mark.parametrize("modality", [None, "image"])
async def test_pictures_are_embedded_in_infinitys_format(client: httpx.AsyncClient, modality: str | None) -> None:
    answer = (await embed(client, input=[RED, BLUE], **({"modality": modality} if modality else {}))).json()
    assert [item["embedding"] for item in answer["data"]] == [
        await vector_of_picture(client, picture("red")),
        await vector_of_picture(client, picture("blue")),
    ]
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 2  # views


async def test_a_picture_is_embedded_in_vllms_format(client: httpx.AsyncClient) -> None:
    content = [{"type": "image_url", "image_url": {"url": BLUE, "detail": "auto"}}]
    answer = (await embed(client, messages=[{"role": "user", "content": content}], model="hash")).json()
    (item,) = answer["data"]
    assert item["embedding"] == await vector_of_picture(client, picture("blue"))


@pytest.mark.parametrize("content", ["a red bicycle", [{"type": "text", "text": "a red bicycle"}]])
async def test_a_text_is_embedded_in_vllms_format(client: httpx.AsyncClient, content: Any) -> None:
    answer = (await embed(client, messages=[{"role": "user", "content": content}])).json()
    np.testing.assert_array_equal(np.float32(answer["data"][0]["embedding"]), ENCODER.vector_of("a red bicycle"))


async def test_a_list_may_mix_texts_and_pictures(client: httpx.AsyncClient) -> None:
    answer = (await embed(client, input=["a", BLUE, "b", RED])).json()
    first, second, third, fourth = (item["embedding"] for item in answer["data"])
    np.testing.assert_array_equal(
        np.array([first, third], np.float32), [ENCODER.vector_of("a"), ENCODER.vector_of("b")]
    )
    assert second == await vector_of_picture(client, picture("blue"))
    assert fourth == await vector_of_picture(client, picture("red"))


@pytest.mark.parametrize(
    "text", ["data: we measured it, twice", "data:text/plain;base64,aGFsbG8=", "https://pictures.example/a.png"]
)
async def test_a_text_that_begins_like_a_uri_is_a_text(client: httpx.AsyncClient, text: str) -> None:
    answer = (await embed(client, input=text)).json()
    np.testing.assert_array_equal(np.float32(answer["data"][0]["embedding"]), ENCODER.vector_of(text))


async def test_a_data_uri_with_modality_text_is_a_text(client: httpx.AsyncClient) -> None:
    answer = (await embed(client, input=RED, modality="text")).json()
    np.testing.assert_array_equal(np.float32(answer["data"][0]["embedding"]), ENCODER.vector_of(RED))


BAD: dict[str, tuple[dict[str, Any], int, str, str, str | None]] = {
    "nothing": ({}, 422, "missing_field", "The body needs `input`, or `messages` in its place.", None),
    "both": (
        {"input": "a", "messages": [{"content": "a"}]},
        *(422, "missing_field", "The body needs `input`, or `messages` in its place.", None),
    ),
    "no input": ({"input": None}, 422, "missing_field", "The body needs `input`", None),
    "a number": (
        {"input": 3},
        422,
        "wrong_type",
        "`input` must be a string or a list of strings,",
        "input",
    ),
    "tokens": ({"input": [101, 102]}, 422, "tokens_not_supported", "`input`: Token ids are not read", "input"),
    "lists of tokens": ({"input": [[101], [102]]}, 422, "tokens_not_supported", "`input`: Token ids are", "input"),
    "a null in a list": (
        {"input": ["a", None]},
        422,
        "wrong_type",
        "`input[1]` must be a string",
        "input[1]",
    ),
    "an empty list": ({"input": []}, 422, "empty_list", "`input` is empty; send at least one text", "input"),
    "an empty text": ({"input": ""}, 422, "empty_text", "`input` is empty;", "input"),
    "a blank text": ({"input": ["a", " "]}, 422, "empty_text", "`input[1]` is empty;", "input[1]"),
    "NUL": ({"input": ["a\0"]}, 422, "invalid_text", "`input[0]` contains the character NUL", "input[0]"),
    "a long text": ({"input": "a" * 601}, 422, "text_too_long", "`input` has 601 characters; at most 600", "input"),
    "too many texts": (
        {"input": ["a"] * 5},
        *(422, "too_many_texts", "`input` has 5 texts (MAX_BATCH_TEXTS); at most 4 go in a request.", "input"),
    ),
    "too many pictures": (
        {"input": [RED] * 3},
        *(422, "too_many_pictures", "`input` has 3 pictures (MAX_BATCH_IMAGES); at most 2 go in a request.", "input"),
    ),
    "another model": (
        {"input": "a", "model": "text-embedding-3-small"},
        *(404, "model_not_found", "The model 'text-embedding-3-small' is not served here; 'hash' is.", "model"),
    ),
    "shorter vectors": (
        {"input": "a", "dimensions": 256},
        *(422, "dimensions_not_supported", "`dimensions` is 256; the vectors here have 1152.", "dimensions"),
    ),
    "no dimensions": (
        {"input": "a", "dimensions": -1},
        422,
        "out_of_range",
        "`dimensions` must be",
        "dimensions",
    ),
    "another encoding": (
        {"input": "a", "encoding_format": "int8"},
        *(422, "wrong_value", "`encoding_format` must be 'float' or 'base64', not 'int8'.", "encoding_format"),
    ),
    "another modality": (
        {"input": "a", "modality": "audio"},
        *(422, "wrong_value", "`modality` must be 'text' or 'image', not 'audio'.", "modality"),
    ),
    "a text as picture": (
        {"input": ["a"], "modality": "image"},
        *(422, "invalid_image_reference", "`input[0]` must be the data URI of a picture.", "input[0]"),
    ),
    "a URL": (
        {"input": "https://pictures.example/a.png", "modality": "image"},
        *(422, "image_url_refused", "`input`: Pictures are not fetched from URLs here (ALLOW_IMAGE_URLS", "input"),
    ),
    "bad base64": (
        {"input": [RED, "data:image/png;base64,abc"]},
        *(422, "invalid_base64", "`input[1]` is not base64: incorrect padding.", "input[1]"),
    ),
    "no picture": (
        {"input": [RED, data_uri(b"hello, I am a text")]},
        *(422, "not_a_picture", "`input[1]`: ", "input[1]"),
    ),
    "a bomb": ({"input": data_uri(pixel_bomb(60_000, 60_000))}, 422, "too_many_pixels", "`input`: ", "input"),
    "a large picture": (
        {"input": data_uri(b"x" * 8_001)},
        413,
        "too_many_bytes",
        "`input` has more than",
        "input",
    ),
    "no messages": ({"messages": []}, 422, "wrong_number_of_parts", "`messages` has 0 parts; a vector is", "messages"),
    "two parts": (
        {"messages": [{"content": "a"}, {"content": "b"}]},
        *(422, "wrong_number_of_parts", "`messages` has 2 parts; a vector is made of one text", "messages"),
    ),
    "a sound": (
        {"messages": [{"content": [{"type": "input_audio"}]}]},
        *(
            422,
            "wrong_value",
            "`messages[0].content[0]` has the 'type' 'input_audio'; it must be 'text'",
        ),
        "messages[0].content[0]",
    ),
    "a bad picture in a message": (
        {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "a.png"}}]}]},
        *(422, "invalid_image_reference", "`messages[0].content[0].image_url.url` must be the data URI"),
        "messages[0].content[0].image_url.url",
    ),
}


async def test_an_input_that_cannot_be_embedded_is_named_with_the_reason(client: httpx.AsyncClient) -> None:
    for body, status, code, message, param in BAD.values():
        assert_error(await embed(client, **body), status, code, message, param)


@pytest.mark.parametrize("ids", [[101, 102], [[101], [102, 103]], [[]], [0], [[7] * 300] * 1000])
async def test_token_ids_are_rejected_with_the_clients_options(client: httpx.AsyncClient, ids: Any) -> None:
    for path, field in (("/v1/embeddings", "input"), ("/embeddings", "input")):
        answer = await client.post(path, json={field: ids})
        assert_error(answer, 422, "tokens_not_supported", f"`{field}`: Token ids are not read", field)
        message = answer.json()["error"]["message"]
        for name in (
            "check_embedding_ctx_length=False",
            "LangChain.js",
            "LlamaIndex",
            "Haystack",
            "LiteLLM",
            "Spring AI",
        ):
            assert name in message


async def test_models_are_listed_in_openais_shape(client: httpx.AsyncClient) -> None:
    models = (await client.get("/v1/models")).json()
    (model,) = models["data"]
    assert models == {"object": "list", "data": [model]}
    assert model.pop("created") > 1_700_000_000
    assert model == {"id": "hash", "object": "model", "owned_by": "sidecar", "root": "hash"}
    assert (await client.get("/v1/models/hash")).json()["id"] == "hash"
    assert_error(await client.get("/v1/models/other"), 404, "model_not_found", "The model 'other'", "model")


@pytest.mark.parametrize("name", ["hf-hub:org/name-384", "org/name-384"])
async def test_a_hub_model_is_accepted_with_and_without_its_prefix(serving: Serving, name: str) -> None:
    async with serving(lambda _settings: HashEncoder("hf-hub:org/name-384")) as client:
        assert (await embed(client, input="a", model=name)).json()["model"] == "hf-hub:org/name-384"
        for path in (name, name.replace("/", "%2F")):
            assert (await client.get(f"/v1/models/{path}")).json()["id"] == "hf-hub:org/name-384"


async def test_urls_are_fetched_only_from_listed_public_hosts(serving: Serving) -> None:
    async with serving(allow_image_urls=("localhost", "*.example.com")) as client:
        response = await embed(client, input=["https://localhost/a.png"], modality="image")
        message = "`input[0]`: 'localhost' has an address that is not public."
        assert_error(response, 422, "image_url_refused", message, "input[0]")
        content = [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
        response = await embed(client, messages=[{"content": content}])
        param = "messages[0].content[0].image_url.url"
        message = f"`{param}`: 'example.org' is not among the hosts of ALLOW_IMAGE_URLS."
        assert_error(response, 422, "image_url_refused", message, param)


@pytest.mark.parametrize("user", [7, "customer 7", None, {"id": 7}, [7]])
async def test_the_user_field_is_ignored(client: httpx.AsyncClient, user: object) -> None:
    answer = await client.post("/v1/embeddings", json={"input": "a", "user": user})
    assert answer.status_code == 200, answer.text
