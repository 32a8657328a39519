"""`GET /` shows browsers the console, and its files are below `/console/`."""

from __future__ import annotations

import re

import httpx
import pytest
from pydantic import SecretStr

from tests.integration.http.conftest import Serving
from tests.integration.http.test_root import BROWSER

KEYS = SecretStr("a-key-of-sixteen-characters")


async def test_a_browser_at_the_root_is_shown_the_console_and_others_whether_it_is_ready(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/", headers=BROWSER)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["vary"] == "Accept"
    assert '<div id="console">' in page.text
    assert list((await client.get("/")).json()) == ["unix"]


async def test_the_page_allows_nothing_inline_and_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/", headers=BROWSER)
    policy = {name: value for name, _, value in (rule.partition(" ") for rule in _policy_of(page).split("; "))}
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' blob: data:"
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "'none'")
    assert not re.search(r"<style|style=|<script>| on\w+=", page.text)


async def test_every_file_that_the_page_names_is_served_with_its_type(client: httpx.AsyncClient) -> None:
    page = await client.get("/", headers=BROWSER)
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert "console/main.js" in named
    assert "console/vendor/preact.js" in named
    assert "console/vendor/uPlot.js" not in named, "it is loaded with the charts"
    types = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
    for name in named:
        file = await client.get(f"/{name}")
        assert file.status_code == 200, name
        assert file.headers["content-type"] == types[name[name.rindex(".") :]]
        assert file.headers["x-content-type-options"] == "nosniff"
        assert _policy_of(file) == _policy_of(page)


@pytest.mark.parametrize("path", ["/", "/console/main.js"])
async def test_what_has_not_changed_is_not_sent_again(client: httpx.AsyncClient, path: str) -> None:
    first = await client.get(path, headers=BROWSER)
    assert first.headers["cache-control"] == "no-cache"
    again = await client.get(path, headers={**BROWSER, "If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    other = await client.get(path, headers={**BROWSER, "If-None-Match": '"0"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/console/nowhere.js",
        "/console/",
        "/console/vendor/packages.toml",
        "/console/../endpoints.py",
        "/console/%2e%2e/endpoints.py",
    ],
)
async def test_nothing_else_is_served_below_its_path(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/api/vectors", "/api/vectors/", "/"])
async def test_links_begin_with_the_root_path(serving: Serving, path: str) -> None:
    async with serving(root_path="/api/vectors") as client:
        page = await client.get(path, headers=BROWSER)
        assert page.status_code == 200
        named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert all(name.startswith("/api/vectors/console/") for name in named)
        assert (await client.get("/api/vectors/console/main.js")).status_code == 200


@pytest.mark.parametrize(
    ("settings", "is_served"),
    [
        ({}, True),
        ({"api_keys": KEYS}, True),
        ({"allow_anonymous": True}, False),
        ({"allow_anonymous": True, "console": True}, True),
        ({"console": False}, False),
        ({"api_keys": KEYS, "console": False}, False),
    ],
    ids=str,
)
async def test_it_is_served_by_default_where_the_service_is_local_or_has_keys(
    serving: Serving, settings: dict[str, object], *, is_served: bool
) -> None:
    async with serving(**settings) as client:
        assert (await client.get("/", headers=BROWSER)).status_code == (200 if is_served else 307)
        assert (await client.get("/console/main.js")).status_code == (200 if is_served else 404)


async def test_the_document_names_the_page_but_not_its_files(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert set(paths["/"]["get"]["responses"]["200"]["content"]) == {"application/json", "text/html"}
    assert not [path for path in paths if path.startswith("/console")]


async def test_all_files_count_as_one_route(client: httpx.AsyncClient) -> None:
    for name in ("main.js", "style.css", "shell/shell.js"):
        assert (await client.get(f"/console/{name}")).status_code == 200
    page = (await client.get("/metrics")).text
    assert 'sidecar_http_request_duration_seconds_count{method="GET",route="/console/{file}",status="200"} 3.0' in page


def _policy_of(answer: httpx.Response) -> str:
    return str(answer.headers["content-security-policy"])
