"""MODEL_ALIASES, for tools with a fixed model name."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.http.rerank.tiny_reranker import TinyReranker

EMBEDDING: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"input": "a"},
    "/v2/embed": {"texts": ["a"]},
    "/embeddings": {"input": "a"},
}
RANKING: dict[str, dict[str, Any]] = {
    "/rerank": {"query": "a", "documents": ["a"]},
    "/v1/rerank": {"query": "a", "texts": ["a"]},
}


async def status(client: httpx.AsyncClient, path: str, body: dict[str, Any], model: str) -> int:
    return (await client.post(path, json={**body, "model": model})).status_code


async def test_an_alias_without_a_target_stands_for_any_served_model(
    serving: Serving, tmp_path_factory: pytest.TempPathFactory
) -> None:
    reranker = TinyReranker(tmp_path_factory.mktemp("cross-encoder"))
    own = f"rerank-v3.5={reranker.model_id}"
    aliases = ("text-embedding-3-small", own, "clip=hash")
    async with serving(model_aliases=aliases, **reranker.settings) as client:
        for path, body in EMBEDDING.items():
            names = ["text-embedding-3-small", "clip", "hash", "rerank-v3.5", "Clip"]
            assert [await status(client, path, body, name) for name in names] == [200, 200, 200, 404, 404]
        for path, body in RANKING.items():
            names = ["text-embedding-3-small", "rerank-v3.5", reranker.model_id, "clip"]
            assert [await status(client, path, body, name) for name in names] == [200, 200, 200, 404]


async def test_aliases_are_listed_after_the_served_model_which_answers_name(serving: Serving) -> None:
    async with serving(model_aliases=("text-embedding-3-small", "org/name", "hash")) as client:
        models = (await client.get("/v1/models")).json()["data"]
        assert [(model["id"], model["root"]) for model in models] == [
            ("hash", "hash"),
            ("text-embedding-3-small", "hash"),
            ("org/name", "hash"),
        ]
        for path in ("org/name", "org%2Fname", "org/name/"):
            assert (await client.get(f"/v1/models/{path}")).json()["id"] == "org/name"
        answer = await client.post("/v1/embeddings", json={"input": "a", "model": "text-embedding-3-small"})
        assert answer.json()["model"] == "hash"


async def test_an_unknown_model_is_rejected_with_the_setting(serving: Serving) -> None:
    async with serving() as client:
        refused = await client.post("/v1/embeddings", json={"input": "a", "model": "text-embedding-3-small"})
        message = "The model 'text-embedding-3-small' is not served here; 'hash' is. Send that name,"
        assert_error(refused, 404, "model_not_found", message, "model")
        assert "MODEL_ALIASES" in refused.text
