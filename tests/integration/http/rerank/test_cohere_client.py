"""Cohere's official client, unmodified, against a real server: reranking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import cohere
import httpx
import numpy as np
import pytest

from tests.encoders import HashEncoder
from tests.integration.http.live_server import live_server
from tests.integration.http.rerank.tiny_reranker import DOCUMENTS, QUERY, TinyReranker, best_first, sigmoid

KEY = "a-key-of-the-test-0123456789"  # not a secret


@pytest.fixture
async def url(reranker: TinyReranker) -> AsyncIterator[str]:
    async with live_server(HashEncoder(), api_keys=KEY, **reranker.settings) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def connections() -> AsyncIterator[httpx.AsyncClient]:
    """Closed at the end; Cohere's client leaves that to the garbage collector."""
    async with httpx.AsyncClient() as client:
        yield client


async def test_version_2_ranks_documents(url: str, reranker: TinyReranker) -> None:
    with httpx.Client() as connections:
        client = cohere.ClientV2(api_key=KEY, base_url=url, httpx_client=connections)
        answer = await asyncio.to_thread(
            client.rerank, model=reranker.model_id, query=QUERY, documents=DOCUMENTS, top_n=3, max_tokens_per_doc=4096
        )
    expected = sigmoid(reranker.predict(QUERY, DOCUMENTS))
    assert [result.index for result in answer.results] == best_first(expected)[:3]
    scores = [result.relevance_score for result in answer.results]
    np.testing.assert_allclose(scores, sorted(expected, reverse=True)[:3], atol=1e-5)
    assert answer.id
    assert answer.meta is not None
    assert answer.meta.api_version is not None
    assert answer.meta.api_version.version == "2"
    assert answer.meta.billed_units is not None
    assert answer.meta.billed_units.search_units == 1


async def test_version_1_ranks_document_objects_and_returns_them(
    url: str, reranker: TinyReranker, connections: httpx.AsyncClient
) -> None:
    client = cohere.AsyncClient(api_key=KEY, base_url=url, httpx_client=connections)
    documents = [{"text": text, "id": str(number)} for number, text in enumerate(DOCUMENTS)]
    answer = await client.rerank(query=QUERY, documents=documents, return_documents=True, max_chunks_per_doc=10)
    expected = best_first(reranker.predict(QUERY, DOCUMENTS))
    assert [result.index for result in answer.results] == expected
    for result in answer.results:
        assert result.document is not None
        assert (result.document.text, result.document.id) == (DOCUMENTS[result.index], str(result.index))  # type: ignore[attr-defined]
    by_field = await client.rerank(query=QUERY, documents=documents, rank_fields=["text"])
    assert [result.index for result in by_field.results] == expected


async def test_errors_become_the_clients_exceptions(
    url: str, reranker: TinyReranker, connections: httpx.AsyncClient
) -> None:
    client = cohere.AsyncClientV2(api_key=KEY, base_url=url, httpx_client=connections)
    with pytest.raises(cohere.NotFoundError) as unknown:
        await client.rerank(model="rerank-v3.5", query=QUERY, documents=DOCUMENTS)
    assert "model_not_found" in str(unknown.value)
    with pytest.raises(cohere.UnprocessableEntityError) as unfit:
        await client.rerank(model=reranker.model_id, query=QUERY, documents=["a", "\0"])
    assert "documents[1]" in str(unfit.value)
    stranger = cohere.AsyncClientV2(api_key="wrong", base_url=url, httpx_client=connections)
    with pytest.raises(cohere.UnauthorizedError):
        await stranger.rerank(model=reranker.model_id, query=QUERY, documents=DOCUMENTS)
