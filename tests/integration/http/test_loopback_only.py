"""Without keys, only programs on this machine are served, whatever a browser is made to send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psutil
import pytest

from sidecar.app import create_app
from tests.encoders import HashEncoder
from tests.integration.http.conftest import Serving, make_settings
from tests.integration.http.errors import assert_error
from tests.integration.http.live_server import live_server
from tests.integration.http.pictures import picture

REMEDIES = "Set API_KEYS or API_KEYS_FILE, or ALLOW_ANONYMOUS=1 if anyone who can reach the port may use it."
TEXT = {"text": "a hat"}


def address_of_this_machine() -> str:
    """An address at which other machines reach this one."""
    found: list[str] = [
        a.address for each in psutil.net_if_addrs().values() for a in each if a.family.name == "AF_INET"
    ]
    others = [str(address) for address in found if not address.startswith("127.")]
    return others[0] if others else pytest.skip("this machine has no address but loopback")


@asynccontextmanager
async def asked_at(url: str, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application as if its connection arrived at `url`. The application is not started."""
    app = create_app(make_settings(**changes), load_encoder=lambda _settings: HashEncoder())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=url) as client:
        yield client


async def test_a_request_to_another_address_is_denied_with_the_remedies() -> None:
    """As under a bare `uvicorn --host 0.0.0.0`, of which the application learns nothing."""
    address = address_of_this_machine()
    async with live_server(HashEncoder(), host="0.0.0.0") as port, httpx.AsyncClient() as client:  # noqa: S104
        elsewhere, here = f"http://{address}:{port}", f"http://127.0.0.1:{port}"
        for method, path in (("POST", "/embed/text"), ("GET", "/status"), ("GET", "/metrics")):
            # A false Host, or a proxy's word, changes nothing about where it arrived.
            forwarded = {"X-Forwarded-Host": "localhost", "X-Forwarded-For": "127.0.0.1"}
            for headers in ({}, {"Host": "127.0.0.1"}, forwarded):
                denied = await client.request(method, elsewhere + path, headers=headers)
                assert_error(denied, 403, "no_keys", "The service has no keys, and without them it is not served at ")
                assert denied.json()["error"]["message"].endswith(f"{address}. {REMEDIES}")
        assert (await client.get(f"{elsewhere}/livez")).status_code == 200
        assert (await client.post(f"{here}/embed/text", json=TEXT)).status_code == 200
    async with live_server(HashEncoder(), host="0.0.0.0", allow_anonymous=True) as port, httpx.AsyncClient() as client:  # noqa: S104
        answer = await client.post(f"http://{address}:{port}/embed/text", json=TEXT, headers={"Host": "any.example"})
        assert answer.status_code == 200


@pytest.mark.parametrize("url", ["http://10.0.0.5:9000", "http://[fe80::1]:9000", "http://0.0.0.0", "http://[::]"])
async def test_addresses_beyond_loopback_are_denied(url: str) -> None:
    async with asked_at(url) as client:
        assert_error(await client.get("/status", headers={"Host": "localhost"}), 403, "no_keys", "The service has no")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000", "http://127.9.9.9", "http://[::1]:9000"])
async def test_every_loopback_address_is_allowed(url: str) -> None:
    async with asked_at(url) as client:
        assert (await client.get("/status")).status_code == 200


async def test_a_foreign_name_that_resolves_here_is_denied(serving: Serving) -> None:
    """DNS rebinding: evil.example now resolves to 127.0.0.1, and the browser takes the request for same-origin."""
    async with serving() as client:
        for host in (
            "evil.example",
            "evil.example:9000",
            "127.0.0.1.nip.io",
            "localhost.evil.example",
            "[::2]:9000",
            "[::1",
            "localhost:evil.example:80",
            "",
        ):
            denied = await client.post("/embed/text", json=TEXT, headers={"Host": host})
            assert_error(
                denied, 403, "untrusted_host", "The service has no keys, and without them it is served as local"
            )
        for host in ("localhost", "LOCALHOST:9000", "127.0.0.1:1", "[::1]:9000", "app.localhost"):
            assert (await client.post("/embed/text", json=TEXT, headers={"Host": host})).status_code == 200


async def test_a_browser_cannot_be_used_by_pages_of_other_sites(serving: Serving) -> None:
    """Browsers post forms to any site without a preflight; only Origin reveals the page."""
    form: dict[str, Any] = {"files": {"file": ("a.png", picture())}}
    async with serving(cors_allow_origins=("https://friend.example",)) as client:
        for origin in (
            "https://evil.example",
            "null",
            "http://localhost.evil.example",
            "https://friend.example.evil",
            "http://localhost:evil.example:80",
            "[",
        ):
            denied = await client.post("/embed/image", headers={"Origin": origin}, **form)
            assert_error(denied, 403, "untrusted_origin", "The service has no keys, and without them pages of ")
        for origin in ("https://friend.example", "http://localhost:3000", "http://127.0.0.1:9000"):
            assert (await client.post("/embed/image", headers={"Origin": origin}, **form)).status_code == 200


async def test_a_request_without_a_host_comes_from_a_program_and_is_allowed() -> None:
    async with live_server(HashEncoder()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /status HTTP/1.0\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"200"
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"400"
        writer.close()


async def test_with_keys_neither_host_nor_origin_matter() -> None:
    key = "0123456789abcdef"
    async with asked_at("http://10.0.0.5:9000", api_keys=key) as client:
        headers = {"Authorization": f"Bearer {key}", "Host": "sidecar.example", "Origin": "https://app.example"}
        assert (await client.get("/status", headers=headers)).status_code == 200
        assert (await client.get("/status", headers={"Host": "localhost"})).status_code == 401


async def test_what_a_page_of_another_site_embeds_is_denied_and_a_link_to_here_is_not() -> None:
    """A picture, script or fetch without CORS has no Origin: the page sees no answer, but the work would be done."""
    async with asked_at("http://127.0.0.1:9000") as client:
        for mode, dest in (("no-cors", "image"), ("no-cors", "empty"), ("navigate", "iframe")):
            headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
            for path in ("/status", "/events", "/map?table=a"):
                assert_error(await client.get(path, headers=headers), 403, "untrusted_origin", "The service has no")
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert (await client.get("/status", headers=link)).status_code == 200
        for site in ("same-origin", "same-site", "none"):
            assert (await client.get("/status", headers={"Sec-Fetch-Site": site})).status_code == 200
    async with asked_at("http://127.0.0.1:9000", cors_allow_origins="https://shop.example") as client:
        page = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "empty", "Origin": "https://shop.example"}
        assert (await client.get("/status", headers=page)).status_code == 200
