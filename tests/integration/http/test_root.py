"""`GET /` without the console: a browser is shown the documentation, others whether the service is ready."""

from __future__ import annotations

import threading

import httpx
import pytest
from pydantic import SecretStr

from sidecar.batching.encoder import Encoder
from sidecar.config import Settings
from tests.encoders import HashEncoder
from tests.integration.http.conftest import Serving, is_ready
from tests.integration.http.live_server import live_server
from tests.waiting import wait_until_async

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_browser_at_the_root_is_shown_the_documentation(method: str) -> None:
    async with (
        live_server(HashEncoder(), console=False) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=BROWSER) as browser,
    ):
        redirect = await browser.request(method, "/")
        assert (redirect.status_code, redirect.headers["location"], redirect.content) == (307, "docs", b"")
        assert redirect.headers["vary"] == "Accept"
        page = await browser.request(method, "/", follow_redirects=True)
        assert (page.status_code, page.url.path) == (200, "/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    "accept",
    ["*/*", "application/json", "text/html;q=0", "text/html;q=0.5, application/json", "text/html;q=none", "text/*", ""],
)
async def test_a_client_that_does_not_ask_for_html_is_told_whether_the_service_is_ready(
    client: httpx.AsyncClient, accept: str
) -> None:
    answer = await client.get("/", headers={"Accept": accept})
    assert answer.status_code == 200
    assert list(answer.json()) == ["unix"]
    assert answer.headers["vary"] == "Accept"


@pytest.mark.parametrize("path", ["/api/vectors", "/api/vectors/", "/"])
async def test_the_redirect_begins_with_the_root_path(serving: Serving, path: str) -> None:
    async with serving(root_path="/api/vectors", console=False) as client:
        redirect = await client.get(path, headers=BROWSER)
        assert (redirect.status_code, redirect.headers["location"]) == (307, "/api/vectors/docs")


async def test_the_redirect_needs_neither_a_key_nor_a_loaded_model(serving: Serving) -> None:
    may_load = threading.Event()

    def load(_settings: Settings) -> Encoder:
        assert may_load.wait(30)
        return HashEncoder()

    keys = SecretStr("a-key-of-sixteen-characters")
    try:
        async with serving(load, await_ready=False, api_keys=keys, console=False) as client:
            assert (await client.get("/")).status_code == 503
            assert (await client.get("/", headers=BROWSER)).status_code == 307
            may_load.set()
            await wait_until_async(lambda: is_ready(client), "/readyz")
    finally:
        may_load.set()


async def test_the_document_has_both_answers_of_the_root(serving: Serving) -> None:
    async with serving(console=False) as client:
        responses = (await client.get("/openapi.json")).json()["paths"]["/"]["get"]["responses"]
    assert {"200", "307", "503"} <= set(responses)
    assert set(responses["307"]["headers"]) == {"X-Request-ID", "Location"}
