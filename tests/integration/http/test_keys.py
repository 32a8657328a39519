"""Keys and scopes, over a real server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import SecretStr

from sidecar.app import create_app
from sidecar.config import Settings
from tests.encoders import HashEncoder
from tests.integration.http.conftest import make_settings
from tests.integration.http.errors import assert_error
from tests.integration.http.live_server import live_server
from tests.waiting import wait_until_async

EVERYTHING = "everything-0123456789"
EMBED, SEARCH, ADMIN = "embed-only-0123456789", "search-only-0123456789", "admin-only-0123456789"
KEYS = SecretStr(f"{EVERYTHING}, embed:{EMBED}, search:{SEARCH}, admin:{ADMIN}")
TEXT: dict[str, Any] = {"json": {"text": "a hat"}}


def bearer(key: str, scheme: str = "Bearer") -> dict[str, str]:
    return {"Authorization": f"{scheme} {key}"}


@asynccontextmanager
async def client_of(**changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        live_server(HashEncoder(), **changes) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield client


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(api_keys=KEYS) as client:
        yield client


async def test_operations_with_a_scope_require_a_key_with_it_and_others_none(client: httpx.AsyncClient) -> None:
    """Reads the operations themselves, so that none can be forgotten."""
    application = create_app(make_settings(api_keys=KEYS), load_encoder=lambda _settings: HashEncoder())
    open_paths = set()
    served = [(route.path, method) for route in application.routes for method in route.methods - {"HEAD"}]  # type: ignore[attr-defined]
    for path, method in served:
        answer = await client.request(method, path)
        if answer.status_code == 401:
            assert "Send a key: `Authorization: Bearer KEY`." in answer.text
            assert answer.headers["www-authenticate"] == "Bearer"
            if path != "/events":  # a stream, which this client would read to an end that it does not have
                assert (await client.request(method, path, headers=bearer(EVERYTHING))).status_code not in {401, 403}
        else:
            assert method == "GET"
            open_paths.add(path)
    probes = {"/healthz", "/livez", "/readyz", "/health", "/ping", "/"}
    assert open_paths == probes | {"/openapi.json", "/docs", "/docs/page.js", "/docs/page.css", "/console/{file:path}"}
    assert ("/", "POST") in served


async def test_a_key_permits_its_own_scopes_and_no_others(client: httpx.AsyncClient) -> None:
    for method, path, key, scope in (
        ("POST", "/embed/text", EMBED, "embed"),
        ("GET", "/status", ADMIN, "admin"),
        ("GET", "/metrics", ADMIN, "admin"),
    ):
        body = TEXT if method == "POST" else {}
        for right in (key, EVERYTHING):
            assert (await client.request(method, path, headers=bearer(right), **body)).status_code == 200
        for other in {EMBED, SEARCH, ADMIN} - {key}:
            denied = await client.request(method, path, headers=bearer(other), **body)
            assert_error(denied, 403, "forbidden_scope", f"The key lacks the scope `{scope}`, which this needs.")
            assert denied.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{scope}"'
            assert other not in denied.text


NO_KEYS = (
    *("not-a-key-0123456789", EMBED[:-1], EMBED + "0", EMBED.upper(), f"embed:{EMBED}"),
    *(f"{EMBED},{ADMIN}", f"{EMBED} {ADMIN}", "*", "é" * 20, "0" * 20_000),
)


async def test_an_unknown_key_is_rejected_and_not_quoted(client: httpx.AsyncClient) -> None:
    for key in NO_KEYS:
        denied = await client.post("/embed/text", headers={b"Authorization": f"Bearer {key}".encode("latin-1")}, **TEXT)
        assert_error(denied, 401, "invalid_key", "The key in the Authorization header is not valid for this service.")
        assert denied.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert key == "*" or key not in denied.text


async def test_a_header_without_bearer_is_a_missing_key(client: httpx.AsyncClient) -> None:
    for header in ("", "Bearer", f"Basic {EMBED}", EMBED, f"Bearer{EMBED}", f"Bearer\t{EMBED}"):
        denied = await client.post("/embed/text", headers={"Authorization": header}, **TEXT)
        assert_error(denied, 401, "missing_key", "Send a key")


async def test_the_scheme_is_case_insensitive_and_may_have_extra_spaces(client: httpx.AsyncClient) -> None:
    for header in (f"bearer {EMBED}", f"BEARER {EMBED}", f"Bearer   {EMBED}"):
        assert (await client.post("/embed/text", headers={"Authorization": header}, **TEXT)).status_code == 200


async def test_a_key_outside_the_authorization_header_is_ignored(client: httpx.AsyncClient) -> None:
    client.cookies.set("Authorization", f"Bearer {EMBED}")
    places: list[dict[str, Any]] = [
        {"params": {"api_key": EMBED, "authorization": f"Bearer {EMBED}"}},
        {"headers": {"X-API-Key": EMBED}},
        {"headers": {"Proxy-Authorization": f"Bearer {EMBED}"}},
        {"auth": ("Bearer", EMBED)},
    ]
    for place in places:
        assert (await client.post("/embed/text", **place, **TEXT)).status_code == 401, place


async def test_two_keys_in_one_request_are_rejected(client: httpx.AsyncClient) -> None:
    for first, second in ((EMBED, ADMIN), (ADMIN, EMBED), (EMBED, EMBED)):
        headers = [("Authorization", f"Bearer {key}") for key in (first, second)]
        assert_error(await client.post("/embed/text", headers=headers, **TEXT), 401, "invalid_key", "The key")


async def test_other_spellings_of_a_path_bypass_nothing(client: httpx.AsyncClient) -> None:
    for path in (
        "//embed/text",
        "/embed/text/",
        "/./embed/text",
        "/embed%2Ftext",
        "/livez/../embed/text",
        "/EMBED/TEXT",
    ):
        answer = await client.post(path, **TEXT)
        assert answer.status_code in {401, 404}, path
    for method in ("HEAD", "OPTIONS", "PUT", "TRACE"):
        answer = await client.request(method, "/status")
        assert answer.status_code in {401, 405}, method


async def test_keys_work_with_the_clients_of_openai_and_prometheus(client: httpx.AsyncClient) -> None:
    async with openai.AsyncOpenAI(api_key=ADMIN, base_url=f"{client.base_url}", max_retries=0) as official:
        with pytest.raises(openai.PermissionDeniedError) as forbidden:
            await official.post("/embed/text", cast_to=object, body={"text": "a hat"})
        assert forbidden.value.code == "forbidden_scope"
    async with openai.AsyncOpenAI(api_key="wrong", base_url=f"{client.base_url}", max_retries=0) as official:
        with pytest.raises(openai.AuthenticationError):
            await official.post("/embed/text", cast_to=object, body={"text": "a hat"})
    # What `authorization: {credentials: …}` in a scrape configuration sends.
    scraped = await client.get("/metrics", headers={"Authorization": f"Bearer {ADMIN}", "Accept": "text/plain"})
    assert scraped.status_code == 200


async def test_denials_are_logged_at_a_bounded_rate_without_what_was_sent(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for number in range(50):
        await client.post("/embed/text", headers=bearer(f"guess-{number:020}"), **TEXT)
    (line,) = [record.getMessage() for record in caplog.records if "Access denied" in record.getMessage()]
    assert line == "Access denied to 127.0.0.1: invalid_key (1 denied since the last such line)"
    assert "guess-" not in caplog.text


async def test_no_page_of_the_service_shows_a_key(client: httpx.AsyncClient) -> None:
    for path in ("/status", "/metrics", "/healthz", "/readyz"):
        text = (await client.get(path, headers=bearer(EVERYTHING))).text
        assert not any(key in text for key in (EVERYTHING, EMBED, SEARCH, ADMIN)), path


async def test_a_key_file_is_reloaded_when_it_changes_and_kept_when_it_breaks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"embed:{EMBED}\n")
    async with client_of(api_keys_file=file, api_keys=SecretStr(f"admin:{ADMIN}")) as client:

        async def opens(key: str, path: str = "/embed/text") -> bool:
            method = "POST" if path == "/embed/text" else "GET"
            return bool((await client.request(method, path, headers=bearer(key), **TEXT)).status_code == 200)

        assert await opens(EMBED)
        assert await opens(ADMIN, "/status")
        replacement = tmp_path / "replacement"
        replacement.write_text(f"# rotated\nembed:{EVERYTHING}\n")
        replacement.replace(file)
        await wait_until_async(lambda: opens(EVERYTHING), "the new key to be known")
        assert not await opens(EMBED)
        assert await opens(ADMIN, "/status")
        for broken, reason in (
            ("short\n", "line 1: a key has 16 to 512 characters"),
            ("", "it contains no key"),
            (f"{ADMIN}\n", "the same key appears twice"),
        ):
            file.write_text(broken)
            await wait_until_async(partial(said, caplog, reason), reason)
            assert await opens(EVERYTHING)
        file.unlink()
        await wait_until_async(partial(said, caplog, "it cannot be read: No such file"), "the missing file")
        assert await opens(EVERYTHING)
        file.write_text(f"embed:{SEARCH}\n")
        await wait_until_async(lambda: opens(SEARCH), "the mended file to be read")
        assert not await opens(EVERYTHING)
    assert not any(key in caplog.text for key in (EVERYTHING, EMBED, SEARCH, ADMIN, "short"))


async def said(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return words in caplog.text


@pytest.mark.parametrize("content", [None, b"", b"# nothing\n", b"short\n", b"\xff\xfe" * 20, b"x" * 1_100_000])
def test_a_key_file_that_is_invalid_at_start_is_a_configuration_error(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        create_app(Settings(api_keys_file=file))
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("ERROR: API_KEYS_FILE")
