"""infinity's paths: the responses of `/v1/embeddings`, and the defaults of infinity's client."""

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
from tests.integration.http.pictures import data_uri, picture, vector_of_picture

ENCODER = HashEncoder()
RED = data_uri(picture("red"))
# What infinity's client sends by default.
UNSAID = {"model": "default/not-specified", "dimensions": 0, "user": None, "encoding_format": "float"}


@pytest.fixture
async def client(serving: Serving) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(model_aliases=("openai/clip-vit-base-patch32",)) as client:
        yield client


@pytest.mark.parametrize("path", ["/embeddings", "/v1/embeddings"])
async def test_texts_are_embedded_with_the_clients_defaults(client: httpx.AsyncClient, path: str) -> None:
    answer = (await client.post(path, json={"input": ["a", "b"], "modality": "text", **UNSAID})).json()
    vectors = np.array([item["embedding"] for item in answer["data"]], np.float32)
    np.testing.assert_array_equal(vectors, [ENCODER.vector_of("a"), ENCODER.vector_of("b")])
    assert (answer["object"], answer["model"]) == ("list", "hash")
    assert answer["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


@pytest.mark.parametrize(
    ("path", "options"),
    [("/embeddings", {"modality": "image"}), ("/embeddings_image", {}), ("/embeddings_image", {"modality": None})],
)
async def test_pictures_are_embedded(client: httpx.AsyncClient, path: str, options: dict[str, Any]) -> None:
    body = {"input": [RED], **UNSAID, "encoding_format": "base64", **options}
    (item,) = (await client.post(path, json=body)).json()["data"]
    expected = await vector_of_picture(client, picture("red"))
    np.testing.assert_array_equal(
        np.frombuffer(base64.b64decode(item["embedding"]), "<f4"), np.array(expected, np.float32)
    )


async def test_a_text_in_place_of_a_picture_is_named(client: httpx.AsyncClient) -> None:
    refused = await client.post("/embeddings_image", json={"input": ["a"]})
    assert_error(refused, 422, "invalid_image_reference", "`input[0]` must be the data URI of a picture.", "input[0]")


async def test_models_have_the_fields_that_the_client_requires(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/models")).json()
    assert answer["object"] == "list"
    assert [model["id"] for model in answer["data"]] == ["hash", "openai/clip-vit-base-patch32"]
    for model in answer["data"]:
        assert (model["object"], model["owned_by"], model["backend"]) == ("model", "infinity", "torch")
        assert model["stats"] == {"queue_fraction": 0, "queue_absolute": 0, "results_pending": 0, "batch_size": 32}
        assert model["capabilities"] == ["embed", "image_embed"]
