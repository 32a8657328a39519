"""Paths with a trailing slash, a prefix, or of another server."""

from __future__ import annotations

import httpx
import pytest

from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.scrape import scrape


@pytest.mark.parametrize("path", ["/v1/embeddings/", "/embeddings/", "/embed/text/"])
async def test_one_trailing_slash_is_accepted_without_a_redirect(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path, json={"input": "a", "text": "a"})
    assert answer.status_code == 200
    counts = (await scrape(client)).by("sidecar_http_request_duration_seconds_count", "route", "method")
    assert counts[path.rstrip("/"), "POST"] == 1


@pytest.mark.parametrize(
    ("path", "meant", "also"),
    [
        ("/v1/v1/embeddings", "/v1/embeddings", "Remove /v1 from the client's base URL."),
        ("/api/v1/embeddings/", "/v1/embeddings", "Remove /api from the client's base URL."),
        ("/v1/rerank/rerank", "/rerank", "Remove /v1/rerank from"),
        ("/v1/embed/text", "/embed/text", "Remove /v1 from"),
        ("/V1/Embeddings", "/v1/embeddings", ""),
        ("/v1//embeddings", "/v1/embeddings", ""),
        ("/v1/embedding", "/v1/embeddings", ""),
        ("/embed/texts", "/embed/text", ""),
        ("/heatlh", "/health", ""),
        ("/docs/", "/docs", ""),
    ],
)
async def test_a_404_suggests_the_path_that_was_probably_meant(
    client: httpx.AsyncClient, path: str, meant: str, also: str
) -> None:
    answer = await client.post(path, json={"input": "a"})
    assert_error(answer, 404, "not_found", "There is nothing at ")
    message = answer.json()["error"]["message"]
    assert f" Did you mean {meant}? {also}" in message
    assert "See /docs for what there is." in message


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/embed", "Ollama's API is not served. OpenAI's is"),
        ("/api/embeddings", "Ollama's API is not served."),
        ("/api/tags", "Ollama's API is not served."),
        ("/openai/deployments/text-embedding-3-small/embeddings", "Azure's paths are not served."),
        ("/v1/chat/completions", "Text is not generated here"),
        ("/embed_sparse", "one dense vector"),
        ("/v1/audio/transcriptions", "Audio is not embedded here"),
        ("/nothing-like-it", "There is nothing at /nothing-like-it. See /docs for what there is."),
    ],
)
async def test_a_404_for_another_servers_path_names_the_alternative(
    client: httpx.AsyncClient, path: str, words: str
) -> None:
    answer = await client.post(path, json={})
    assert_error(answer, 404, "not_found", "There is nothing at ")
    assert words in answer.json()["error"]["message"]


async def test_a_very_long_path_is_answered_quickly(client: httpx.AsyncClient) -> None:
    assert (await client.get("/" + "embed/" * 3000)).status_code == 404


@pytest.mark.parametrize(
    ("path", "allowed"), [("/", {"GET", "HEAD", "POST"}), ("/embed", {"POST"}), ("/models", {"GET", "HEAD"})]
)
async def test_a_405_lists_all_methods_of_a_path(client: httpx.AsyncClient, path: str, allowed: set[str]) -> None:
    for slash in ("", "/") if path != "/" else ("",):
        answer = await client.delete(path + slash)
        assert_error(answer, 405, "method_not_allowed", f"{path} answers ")
        assert set(answer.headers["allow"].split(", ")) == allowed


async def test_probes_under_foreign_paths_are_logged_no_more_than_ours(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as client:
        with caplog.at_level("INFO", "sidecar.http.access_log"):
            for path in ("/health", "/ping", "/", "/readyz"):
                await client.get(path)
            assert caplog.messages == []
            await client.post("/", json={"inputs": "a"})
            assert [message.split(" ")[:3] for message in caplog.messages] == [["POST", "/", "200"]]


async def test_a_proxys_prefix_is_removed_from_paths_and_messages(
    client: httpx.AsyncClient,
) -> None:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    behind = httpx.ASGITransport(transport.app, root_path="/inner")
    async with httpx.AsyncClient(transport=behind, base_url="http://127.0.0.1:9000") as proxied:
        assert (await proxied.post("/inner/v1/embeddings/", json={"input": "a"})).status_code == 200
        assert (await proxied.get("/inner/")).status_code == 200
        missing = (await proxied.post("/inner/v1/v1/embeddings", json={})).json()["error"]["message"]
        assert "Did you mean /v1/embeddings? Remove /v1 from the client's base URL." in missing
