"""Pictures as documents: scored by the embedding model, and labelled as such."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.encoders import HashEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.http.pictures import data_uri, picture
from tests.integration.http.rerank.tiny_reranker import QUERY, best_first, sigmoid

PICTURES = [picture(colour) for colour in ("red", "green", "blue", "white")]
LONG = " ".join(f"word{number}" for number in range(65))


URIS = [data_uri(image) for image in PICTURES]


@pytest.fixture
async def client(serving: Serving) -> AsyncIterator[httpx.AsyncClient]:
    async with serving() as client:
        yield client


async def logits_of(client: httpx.AsyncClient, query: str) -> NDArray[np.float32]:
    """SigLIP's formula over the service's vectors, with the scale and bias of the encoder."""
    words = (await client.post("/embed/text", json={"text": query})).json()["embedding"]
    files = [("file", (f"{index}.png", image)) for index, image in enumerate(PICTURES)]
    vectors = (await client.post("/embed/image/batch", files=files)).json()["embeddings"]
    scale = HashEncoder().pair_scale
    assert scale is not None
    return np.asarray(scale.scale * (np.array(vectors) @ np.array(words)) + scale.bias, np.float32)


@pytest.mark.parametrize(
    "documents",
    [
        URIS,
        [{"image": uri} for uri in URIS],
        [{"image_url": uri} for uri in URIS],
        [{"type": "image_url", "image_url": {"url": uri, "detail": "low"}} for uri in URIS],
    ],
    ids=["uris", "image", "image_url", "parts"],
)
async def test_pictures_get_the_score_that_the_model_was_trained_on(
    client: httpx.AsyncClient, documents: list[Any]
) -> None:
    response = await client.post("/v2/rerank", json={"query": QUERY, "documents": documents})
    assert response.status_code == 200, response.text
    answer = response.json()
    expected = sigmoid(await logits_of(client, QUERY))
    assert (answer["model"], answer["score_kind"], answer["calibrated"]) == ("hash", "siglip_pair", False)
    assert "uncalibrated" in " ".join(answer["meta"]["warnings"])
    assert [each["index"] for each in answer["results"]] == best_first(expected)
    scores = [each["relevance_score"] for each in answer["results"]]
    np.testing.assert_allclose(scores, sorted(expected, reverse=True), rtol=1e-3)
    assert max(scores) > 2 * min(scores)  # otherwise the order would prove little


async def test_without_tta_the_score_is_the_probability(serving: Serving) -> None:
    async with serving(enable_tta=False) as client:
        response = await client.post("/v1/rerank", json={"query": QUERY, "documents": URIS, "raw_scores": True})
        expected = await logits_of(client, QUERY)
    answer = response.json()
    assert answer["calibrated"] is True
    assert "warnings" not in answer["meta"]
    raw = {each["index"]: each["relevance_score"] for each in answer["results"]}
    np.testing.assert_allclose([raw[index] for index in range(4)], expected, atol=1e-3)


async def test_pictures_are_returned_as_sent(client: httpx.AsyncClient) -> None:
    documents = [URIS[0], {"image_url": {"url": URIS[1]}, "id": "green"}]
    body = {"query": QUERY, "documents": documents, "return_documents": True}
    results = (await client.post("/v2/rerank", json=body)).json()["results"]
    sent = {each["index"]: each["document"] for each in results}
    assert sent == {0: {"image": URIS[0]}, 1: {"image_url": {"url": URIS[1]}, "id": "green"}}


async def test_a_truncated_query_is_reported(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/v2/rerank", json={"query": LONG, "documents": URIS})).json()
    assert answer["meta"]["warnings"][0] == "Longer than the model reads, and cut: query."


async def test_a_picture_that_cannot_be_read_is_named(client: httpx.AsyncClient) -> None:
    broken = data_uri(PICTURES[0][:40])
    refused = await client.post("/v2/rerank", json={"query": QUERY, "documents": [*URIS, broken]})
    assert refused.status_code == 422
    assert refused.json()["error"]["param"] == "documents[4]"
    url = await client.post("/v2/rerank", json={"query": QUERY, "documents": [{"image": "https://example.com/a.png"}]})
    assert url.status_code == 422
    assert url.json()["error"]["param"] == "documents[0]"


async def test_a_model_without_a_pair_scale_rejects_pictures(serving: Serving) -> None:
    encoder = HashEncoder()
    encoder.pair_scale = None
    async with serving(lambda _settings: encoder) as client:
        refused = await client.post("/v2/rerank", json={"query": QUERY, "documents": URIS})
    message = "hash gives a text and a picture no score of their own; only texts are ranked here."
    assert_error(refused, 422, "unsupported_documents", message, "documents[0]")


async def test_pictures_need_no_cross_encoder(client: httpx.AsyncClient) -> None:
    """The default one is not on this machine, and is not loaded."""
    assert (await client.post("/v2/rerank", json={"query": QUERY, "documents": URIS})).status_code == 200
