"""Valid rerank requests, and their responses in each API's shape."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.integration.http.conftest import Serving
from tests.integration.http.rerank.tiny_reranker import DOCUMENTS, QUERY, TinyReranker, best_first, sigmoid

LONG = "the old museum of the city " * 40


@pytest.fixture
async def client(serving: Serving, reranker: TinyReranker) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(**reranker.settings) as client:
        yield client


async def ask(client: httpx.AsyncClient, path: str, **body: Any) -> Any:
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def test_texts_are_ranked_as_text_embeddings_inference_does(
    client: httpx.AsyncClient, reranker: TinyReranker
) -> None:
    ranked = await ask(client, "/rerank", query=QUERY, texts=DOCUMENTS)
    assert [set(each) for each in ranked] == [{"index", "score"}] * len(DOCUMENTS)
    expected = sigmoid(reranker.predict(QUERY, DOCUMENTS))
    assert [each["index"] for each in ranked] == best_first(expected)
    np.testing.assert_allclose([each["score"] for each in ranked], sorted(expected, reverse=True), atol=1e-5)


async def test_raw_scores_and_texts_are_returned_on_request(client: httpx.AsyncClient, reranker: TinyReranker) -> None:
    ranked = await ask(
        client, "/rerank", query=QUERY, texts=DOCUMENTS, raw_scores=True, return_text=True, truncate=True, unknown=1
    )
    assert [each["text"] for each in ranked] == [DOCUMENTS[each["index"]] for each in ranked]
    expected = reranker.predict(QUERY, DOCUMENTS)
    np.testing.assert_allclose([each["score"] for each in ranked], sorted(expected, reverse=True), atol=1e-5)
    assert ranked[0]["score"] > 1


@pytest.mark.parametrize("version", ["1", "2"])
async def test_documents_are_ranked_as_cohere_does(
    client: httpx.AsyncClient, reranker: TinyReranker, version: str
) -> None:
    answer = await ask(
        client, f"/v{version}/rerank", model=reranker.model_id, query=QUERY, documents=DOCUMENTS, top_n=3
    )
    uuid.UUID(answer["id"])
    assert set(answer) == {"id", "object", "results", "model", "score_kind", "usage", "meta"}
    tokens = answer["meta"]["tokens"]["input_tokens"]
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert (answer["model"], answer["score_kind"]) == (reranker.model_id, "cross_encoder")
    assert answer["meta"]["api_version"] == {"version": version}
    assert answer["meta"]["billed_units"] == {"search_units": 1}
    assert answer["meta"]["tokens"]["input_tokens"] > len(DOCUMENTS) * len(QUERY.split())
    assert "warnings" not in answer["meta"]
    expected = sigmoid(reranker.predict(QUERY, DOCUMENTS))
    assert [each["index"] for each in answer["results"]] == best_first(expected)[:3]
    assert [set(each) for each in answer["results"]] == [{"index", "relevance_score"}] * 3
    scores = [each["relevance_score"] for each in answer["results"]]
    np.testing.assert_allclose(scores, sorted(expected, reverse=True)[:3], atol=1e-5)


async def test_documents_are_returned_as_sent(client: httpx.AsyncClient, reranker: TinyReranker) -> None:
    documents = ["a red bicycle", {"text": "a small dog", "id": 7, "note": None}]
    answer = await ask(client, "/v2/rerank", query=QUERY, documents=documents, return_documents=True, raw_scores=True)
    sent = {each["index"]: each["document"] for each in answer["results"]}
    assert sent == {0: {"text": "a red bicycle"}, 1: {"text": "a small dog", "id": 7, "note": None}}
    raw = {each["index"]: each["relevance_score"] for each in answer["results"]}
    expected = reranker.predict(QUERY, ["a red bicycle", "a small dog"])
    np.testing.assert_allclose([raw[0], raw[1]], expected, atol=1e-5)


async def test_rank_fields_select_the_fields_to_rank_by(client: httpx.AsyncClient, reranker: TinyReranker) -> None:
    documents = [{"title": "a red", "body": "bicycle"}, {"title": "a dog", "body": "in the city"}]
    answer = await ask(
        client, "/v1/rerank", query=QUERY, documents=documents, rank_fields=["title", "body"], raw_scores=True
    )
    raw = {each["index"]: each["relevance_score"] for each in answer["results"]}
    expected = reranker.predict(QUERY, ["a red\nbicycle", "a dog\nin the city"])
    np.testing.assert_allclose([raw[0], raw[1]], expected, atol=1e-5)


async def test_equal_scores_keep_the_order_of_the_request(client: httpx.AsyncClient) -> None:
    documents = ["a red bicycle", "a dog"] * 40
    answer = await ask(client, "/v2/rerank", query=QUERY, documents=documents)
    indexes = [each["index"] for each in answer["results"]]
    assert sorted(indexes[:40]) == indexes[:40]
    assert sorted(indexes[40:]) == indexes[40:]
    some = await ask(client, "/v2/rerank", query=QUERY, documents=documents, top_n=5)
    assert [each["index"] for each in some["results"]] == indexes[:5]


async def test_truncated_documents_are_reported(client: httpx.AsyncClient, reranker: TinyReranker) -> None:
    answer = await ask(client, "/v2/rerank", query=QUERY, documents=["a dog", LONG], raw_scores=True)
    assert answer["meta"]["warnings"] == ["Longer than the model reads, and cut: documents[1]."]
    raw = {each["index"]: each["relevance_score"] for each in answer["results"]}
    np.testing.assert_allclose([raw[0], raw[1]], reranker.predict(QUERY, ["a dog", LONG]), atol=1e-5)


async def test_max_tokens_per_doc_truncates_documents(client: httpx.AsyncClient, reranker: TinyReranker) -> None:
    documents = ["a red bicycle on the beach", "a dog"]
    answer = await ask(
        client,
        "/v2/rerank",
        query=QUERY,
        documents=documents,
        max_tokens_per_doc=3,
        max_chunks_per_doc=1,
        raw_scores=True,
    )
    raw = {each["index"]: each["relevance_score"] for each in answer["results"]}
    np.testing.assert_allclose([raw[0], raw[1]], reranker.predict(QUERY, ["a red bicycle", "a dog"]), atol=1e-5)
    assert answer["meta"]["warnings"] == ["Longer than the model reads, and cut: documents[0]."]


async def test_one_search_unit_is_billed_per_hundred_documents(client: httpx.AsyncClient) -> None:
    answer = await ask(client, "/v2/rerank", query=QUERY, documents=["a dog"] * 101, top_n=1)
    assert answer["meta"]["billed_units"] == {"search_units": 2}


async def test_concurrent_requests_get_the_scores_of_single_requests(
    client: httpx.AsyncClient, reranker: TinyReranker
) -> None:
    queries = [f"{QUERY} {number}" for number in range(32)]
    documents = [[*DOCUMENTS, f"{number} dogs", LONG[: 20 * number + 5]] for number in range(32)]
    answers = await asyncio.gather(
        *(
            ask(client, "/v2/rerank", query=query, documents=some, raw_scores=True)
            for query, some in zip(queries, documents, strict=True)
        )
    )
    for query, some, answer in zip(queries, documents, answers, strict=True):
        raw = {each["index"]: each["relevance_score"] for each in answer["results"]}
        together = [raw[index] for index in range(len(some))]
        np.testing.assert_allclose(together, reranker.predict(query, some), atol=2e-5)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
async def test_documents_and_texts_are_accepted_on_every_path(
    client: httpx.AsyncClient, reranker: TinyReranker, path: str
) -> None:
    expected = best_first(reranker.predict(QUERY, DOCUMENTS))
    answer = await ask(client, path, query=QUERY, documents=DOCUMENTS, return_documents=True, top_n=2)
    assert [each["index"] for each in answer["results"]] == expected[:2]
    assert answer["results"][0]["document"] == {"text": DOCUMENTS[expected[0]]}
    assert (answer["object"], answer["usage"]["total_tokens"] > 0) == ("rerank", True)
    ranked = await ask(client, path, query=QUERY, texts=DOCUMENTS, top_n=2)
    assert [each["index"] for each in ranked] == expected[:2]


@pytest.mark.parametrize("empty", ["", " \n", {"text": ""}, {"text": None, "id": 3}])
@pytest.mark.parametrize("raw_scores", [False, True])
async def test_an_empty_document_is_ranked_last_without_changing_other_scores(
    client: httpx.AsyncClient, empty: Any, raw_scores: bool
) -> None:
    documents = ["a small dog", empty, "a red bicycle"]
    answer = await ask(client, "/v2/rerank", query=QUERY, documents=documents, raw_scores=raw_scores)
    without = await ask(
        client, "/v2/rerank", query=QUERY, documents=[documents[0], documents[2]], raw_scores=raw_scores
    )
    *scored, last = answer["results"]
    assert last["index"] == 1
    assert last["relevance_score"] == (float(np.finfo(np.float32).min) if raw_scores else 0)
    assert [each["relevance_score"] for each in scored] == [each["relevance_score"] for each in without["results"]]
    assert answer["meta"]["warnings"] == ["Empty, and ranked last: documents[1]."]
    assert answer["usage"] == without["usage"]


async def test_empty_documents_come_last_in_order_even_if_all_are_empty(client: httpx.AsyncClient) -> None:
    answer = await ask(client, "/v2/rerank", query=QUERY, documents=["", "a red bicycle", " "])
    assert [each["index"] for each in answer["results"]] == [1, 0, 2]
    answer = await ask(client, "/rerank", query=QUERY, texts=["", "\t"])
    assert answer == [{"index": 0, "score": 0.0}, {"index": 1, "score": 0.0}]
    documents = [{"title": None, "body": ""}, {"title": "a red", "body": "bicycle"}, {"title": None, "body": "a dog"}]
    answer = await ask(client, "/v1/rerank", query=QUERY, documents=documents, rank_fields=["title", "body"])
    assert answer["results"][2]["index"] == 0
