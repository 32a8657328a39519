"""Rerank requests that are rejected, and their errors."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.http.rerank.tiny_reranker import QUERY, TinyReranker

PICTURE = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture
async def client(serving: Serving, reranker: TinyReranker) -> AsyncIterator[httpx.AsyncClient]:
    limits = {"max_rerank_documents": 4, "max_text_chars": 200, "max_batch_images": 2}
    async with serving(**limits, **reranker.settings) as client:
        yield client


def cohere(documents: object, **changes: object) -> tuple[str, dict[str, object]]:
    return "/v2/rerank", {"query": QUERY, "documents": documents, **changes}


def tei(texts: object, **changes: object) -> tuple[str, dict[str, object]]:
    return "/rerank", {"query": QUERY, "texts": texts, **changes}


# The first backticks of a message name what is wrong.
REFUSALS = [
    (("/v2/rerank", {"documents": ["a"]}), "missing_field", "The body has no field `query`."),
    (("/v2/rerank", {"query": QUERY}), "missing_field", "The body needs `documents`, or `texts` in their place."),
    (cohere([]), "empty_list", "`documents` is empty"),
    (cohere("a"), "wrong_type", "`documents` must be a list"),
    (cohere(["a", 3]), "wrong_type", "`documents[1]` must be"),
    (cohere(["a"] * 5), "too_many_documents", "`documents` has 5 documents; at most 4 (MAX_RERANK_DOCUMENTS)"),
    (cohere(["a" * 201]), "text_too_long", "`documents[0]` has 201 characters"),
    (cohere(["a\0"]), "invalid_text", "`documents[0]` contains the character NUL"),
    (cohere([{"title": "a"}]), "wrong_document", "`documents[0]` must have one of"),
    (cohere([{"text": "a", "image": PICTURE}]), "wrong_document", "`documents[0]` must have one of"),
    (cohere([{"title": None}]), "wrong_document", "`documents[0]` must have one of"),
    (cohere([{"a": "b"}], rank_fields=["t"]), "wrong_type", "`documents[0].t` must be a string"),
    (cohere([{"a": "b"}], rank_fields=[]), "too_short", "`rank_fields` has 0 items"),
    (cohere(["a"], top_n=0), "out_of_range", "`top_n` must be at least 1, not 0."),
    (cohere(["a"], top_n=1.5), "wrong_type", "`top_n` must be an integer"),
    (cohere(["a"], query=" "), "empty_text", "`query` is empty"),
    (cohere(["a"], query=PICTURE), "unsupported_query", "`query` is a picture. Pictures can be documents here"),
    (cohere(["a"], query={"image": PICTURE}), "wrong_type", "`query` must be a string"),
    (cohere(["a", PICTURE]), "mixed_documents", "`documents[0]` is a text and `documents[1]` a picture"),
    (cohere([{"image_url": PICTURE}, "a"]), "mixed_documents", "`documents[1]` is a text and `documents[0]` a picture"),
    (cohere([PICTURE] * 3), "too_many_documents", "`documents` has 3 pictures; at most 2 (MAX_BATCH_IMAGES)"),
    (("/rerank", {"query": QUERY}), "missing_field", "The body needs `documents`, or `texts` in their place."),
    (
        ("/rerank", {"query": QUERY, "texts": ["a"], "documents": ["a"]}),
        *("missing_field", "The body needs `documents`, or `texts` in their place."),
    ),
    (tei([]), "empty_list", "`texts` is empty"),
    (tei(["a"] * 5), "too_many_documents", "`texts` has 5 documents"),
    (tei(["a", PICTURE]), "unsupported_documents", "`texts[1]` is a picture; `texts` are texts."),
    (tei(["a"], query=PICTURE), "unsupported_query", "`query` is a picture."),
    (tei(["a"], truncation_direction="Left"), "wrong_value", "`truncation_direction` must be 'right'"),
]


@pytest.mark.parametrize(("asked", "code", "message"), REFUSALS)
async def test_a_request_that_cannot_be_ranked_is_422_with_the_reason(
    client: httpx.AsyncClient, asked: tuple[str, dict[str, object]], code: str, message: str
) -> None:
    path, body = asked
    param = None if message.startswith("The body needs") else message.split("`")[1]
    assert_error(await client.post(path, json=body), 422, code, message, param)
    if path == "/v2/rerank":
        assert_error(await client.post("/v1/rerank", json=body), 422, code, message, param)


async def test_a_query_without_room_for_a_document_is_rejected(client: httpx.AsyncClient) -> None:
    path, body = cohere(["a"], query="a " * 62)
    message = "The query has 62 tokens, which leaves no room for a document: the model reads 64 of both together"
    assert_error(await client.post(path, json=body), 422, "query_too_long", message, "query")


async def test_with_truncate_false_a_long_text_is_rejected(
    client: httpx.AsyncClient,
) -> None:
    message = "`texts[1]` is longer than the model reads (RERANK_MAX_TOKENS)"
    texts = ["a dog", "a b c d e f g h i j " * 9]
    refused = await client.post("/rerank", json={"query": QUERY, "texts": texts, "truncate": False})
    assert_error(refused, 422, "text_too_long", message, "texts[1]")
    assert (await client.post("/rerank", json={"query": QUERY, "texts": texts, "truncate": True})).status_code == 200
    assert (await client.post("/rerank", json={"query": QUERY, "texts": texts})).status_code == 200
    assert (await client.post("/rerank", json={"query": QUERY, "texts": texts[:1], "truncate": False})).is_success


async def test_a_model_that_is_not_served_is_404(client: httpx.AsyncClient, reranker: TinyReranker) -> None:
    body = {"query": QUERY, "documents": ["a"], "model": "rerank-v3.5"}
    message = f"The model 'rerank-v3.5' is not served here; {reranker.model_id!r} is."
    assert_error(await client.post("/v2/rerank", json=body), 404, "model_not_found", message, "model")


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
async def test_switched_off_reranking_is_404_with_the_setting(serving: Serving, path: str) -> None:
    async with serving(rerank="off") as client:
        refused = await client.post(path, json={"query": QUERY, "documents": ["a"], "texts": ["a"]})
        assert (await client.get("/status")).json()["rerank"] == "off"
        assert_error(
            refused, 404, "rerank_disabled", "Reranking is switched off here (RERANK=off). Set RERANK=first_use"
        )
