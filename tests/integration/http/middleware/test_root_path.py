"""A service behind a proxy that serves it below a path of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from sidecar.app import create_app
from tests.encoders import HashEncoder
from tests.integration.http.conftest import is_ready, make_settings
from tests.integration.http.live_server import live_server
from tests.waiting import wait_until_async

EMBED = {"text": "a"}


@asynccontextmanager
async def behind(*, setting: str = "", server: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service below `setting` (ROOT_PATH) or `server` (the server's option, which prepends it)."""
    app = create_app(make_settings(root_path=setting), load_encoder=lambda _settings: HashEncoder())

    async def serve(scope: dict[str, object], receive: object, send: object) -> None:
        if server:  # as uvicorn does
            scope = {**scope, "root_path": server, "path": f"{server}{scope['path']}"}
        await app(scope, receive, send)  # type: ignore[arg-type]

    transport = httpx.ASGITransport(serve)  # type: ignore[arg-type]
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9000") as client,
    ):
        await wait_until_async(lambda: is_ready(client), "/readyz")
        yield client


WAYS = {
    "the setting, passed on": ({"setting": "/sidecar"}, "/sidecar"),
    "the setting, taken off": ({"setting": "/sidecar/"}, ""),
    "two steps": ({"setting": "/api/sidecar"}, "/api/sidecar"),
    "the server's option, taken off": ({"server": "/sidecar"}, ""),
    "the server's option, passed on": ({"server": "/sidecar"}, "/sidecar"),
    "both": ({"setting": "/sidecar", "server": "/sidecar"}, "/sidecar"),
    "a path of ours": ({"setting": "/embed"}, ""),
    "a path of ours, passed on": ({"setting": "/embed"}, "/embed"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_routes_metrics_and_objectives_see_the_path_without_the_prefix(way: str) -> None:
    options, sent = WAYS[way]
    async with behind(**options) as client:
        for path in ("/embed/text", "/embed/text/"):
            assert (await client.post(f"{sent}{path}", json=EMBED)).status_code == 200
        assert (await client.get(f"{sent}/v1/models/hash")).status_code == 200
        page = (await client.get(f"{sent}/metrics")).text
        assert 'sidecar_http_request_duration_seconds_count{method="POST",route="/embed/text",status="200"} 2.0' in page
        assert 'route="/v1/models/{model' in page
        assert 'route="other"' not in page
        status = (await client.get(f"{sent}/status")).json()
        assert [window["events"] for window in status["objectives"]["availability"]["windows"].values()] == [2] * 4
        missing = await client.get(f"{sent}/nowhere")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")


async def test_probes_stay_quiet_below_a_path(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "sidecar.http.access_log")
    async with behind(server="/sidecar") as client:
        caplog.clear()
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/sidecar/readyz")).status_code == 200
    assert caplog.records == []


async def test_the_openapi_document_names_the_root_path() -> None:
    async with behind(setting="/sidecar") as client:
        assert (await client.get("/sidecar/openapi.json")).json()["servers"] == [{"url": "/sidecar"}]
        assert (await client.get("/sidecar/docs")).status_code == 200
    async with behind() as client:
        assert "servers" not in (await client.get("/openapi.json")).json()


async def test_a_path_that_only_starts_with_the_same_letters_is_unchanged() -> None:
    async with behind(setting="/sidecar") as client:
        assert (await client.get("/sidecars/livez")).status_code == 404
        assert (await client.get("/sidecar/sidecar/livez")).status_code == 404


async def test_sidecar_serve_strips_the_root_path_too() -> None:
    async with live_server(HashEncoder(), root_path="/sidecar") as port, httpx.AsyncClient() as client:
        answer = await client.post(f"http://127.0.0.1:{port}/sidecar/embed/text", json=EMBED)
        assert answer.status_code == 200
