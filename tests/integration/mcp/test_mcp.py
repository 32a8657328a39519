"""`sidecar mcp` behind the SDK's own client, over both transports, with a real service and a real database."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from pydantic import SecretStr

from tests.integration.http.live_server import live_server
from tests.integration.search.shop import TITLES, connect, fill_in, make_encoder, make_products
from tests.integration.sql.session import run
from tests.ports import find_free_port
from tests.waiting import wait_until_async

ALL, TENANT, EMBED = (f"{name}-key-0123456789" for name in ("all", "tenant", "embed"))
KEYS = f"""
[[keys]]
key = "{ALL}"
scopes = ["embed", "search", "admin"]

[[keys]]
key = "{TENANT}"
scopes = ["search"]
tables = ["public.products"]
filter = {{ tenant = 7 }}

[[keys]]
key = "{EMBED}"
scopes = ["embed"]
"""
PROGRAM = ("-c", "from sidecar.cli import main; main()", "mcp")
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens there: the command is refused
TOOLS = ["embed", "explain", "failures", "search", "status"]


@pytest.fixture
async def service_url(database_url: str, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a service with the products, two of which have failed."""
    with connect(database_url) as db:
        make_products(db)
        run(db, "create table unwatched (id int primary key)")
    file = tmp_path / "keys"
    file.write_text(KEYS)
    database = SecretStr(database_url)
    async with live_server(make_encoder(), database_url=database, ingest=False, api_keys_file=file) as port:
        yield f"http://127.0.0.1:{port}"


def environment(service_url: str, database_url: str = "", key: str = "") -> dict[str, str]:
    settings = {"SIDECAR_URL": service_url, "DATABASE_URL": database_url, "SIDECAR_API_KEY": key}
    return {**os.environ, **{name: value for name, value in settings.items() if value}}


def over_stdio(service_url: str, database_url: str, key: str) -> Client:
    settings = environment(service_url, database_url, key)
    return Client(StdioServerParameters(command=sys.executable, args=list(PROGRAM), env=settings))


@asynccontextmanager
async def http_server(arguments: Sequence[str], settings: dict[str, str]) -> AsyncIterator[str]:
    """The address of `sidecar mcp --http`, in a process of its own."""
    port = find_free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *PROGRAM, "--http", "--port", str(port), *arguments, env=settings
    )
    try:

        async def answers() -> bool:
            try:
                async with httpx.AsyncClient() as client:
                    return (await client.get(f"http://127.0.0.1:{port}/")).status_code == 404
            except httpx.TransportError:
                return False

        await wait_until_async(answers, "the server to listen")
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        assert await process.wait() == 0


@asynccontextmanager
async def over_http(url: str, key: str | None) -> AsyncIterator[Client]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The answer of a call that must succeed."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    answer = result.structured_content
    assert isinstance(answer, dict)
    return answer


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    """The text that the model reads of a call that must fail."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.structured_content
    return "\n".join(getattr(part, "text", "") for part in result.content)


async def test_over_stdio_a_model_searches_embeds_and_reads_the_state(service_url: str, database_url: str) -> None:
    async with over_stdio(service_url, database_url, ALL) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert sorted(tools) == TOOLS
        for tool in tools.values():
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint
            assert tool.description
        assert tools["search"].input_schema["required"] == ["table"]

        found = await call(client, "search", table="products", text="red bicycle", k=2, columns=["title"])
        assert found["table"] == "public.products"
        assert found["rows"][0]["key"] == {"id": 1}
        assert found["rows"][0]["columns"] == {"title": TITLES[0]}
        assert len(found["rows"]) == 2
        cheap = await call(client, "search", table="products", text="tin", filter={"price": {"$lt": 12.5}})
        assert {row["key"]["id"] for row in cheap["rows"]} == {2, 5, 6}
        similar = await call(client, "search", table="products", similar_to=3)
        assert 3 not in {row["key"]["id"] for row in similar["rows"]}

        merged = await call(client, "search", table="products", text="red bicycle", targets=["e"])
        assert merged["rows"][0]["distances"] == {"e": merged["rows"][0]["distance"]}

        vector = await call(client, "embed", text="a green mug")
        assert len(vector["embedding"]) == vector["dim"] == 16
        state = await call(client, "status")
        assert [watch["relation"] for watch in state["watches"]] == ["public.products"]

        explained = await call(client, "explain", table="products")
        assert explained["watches"][0]["rows"] == 6
        assert explained["failures_by_reason"] == []
        assert await call(client, "failures", table="products") == {"failures": [], "may_be_more": False}


async def test_errors_say_what_a_model_may_do(service_url: str, database_url: str) -> None:
    async with over_stdio(service_url, database_url, ALL) as client:
        unknown = await refusal(client, "search", table="product", text="mug")
        assert "No table 'product' is watched. Did you mean 'public.products'?" in unknown
        assert "`status` lists the tables" in unknown
        assert "the watch does not expose a column 'secret'" in await refusal(
            client, "search", table="products", text="mug", filter={"secret": 1}
        )
        assert "Give either `text`" in await refusal(client, "search", table="products")
        assert "`similar_to` is compared in one `target`: leave `targets` out." in await refusal(
            client, "search", table="products", similar_to=3, targets=["e"]
        )
        assert "k" in await refusal(client, "search", table="products", text="mug", k=1000)
        assert "is not watched" in await refusal(client, "explain", table="unwatched")


async def test_over_stdio_the_key_of_the_settings_decides(service_url: str) -> None:
    async with over_stdio(service_url, "", TENANT) as client:
        assert sorted(tool.name for tool in (await client.list_tools()).tools) == ["embed", "search", "status"]
        everything = await call(client, "search", table="products", text="mug", filter={"$not": {"tenant": 7}})
        assert everything["rows"] == []
        found = await call(client, "search", table="products", text="mug")
        assert {row["key"]["id"] for row in found["rows"]} == {1, 2, 6}
        assert "lacks the scope `admin`" in await refusal(client, "status")
        assert "The key opens no table of this name" in await refusal(client, "search", table="other", text="mug")


async def test_over_http_each_caller_has_its_own_key(service_url: str, database_url: str) -> None:
    settings = environment(service_url, database_url, ALL)  # a key of the server's own must not be used
    async with http_server([], settings) as url:
        async with over_http(url, ALL) as client:
            assert sorted(tool.name for tool in (await client.list_tools()).tools) == TOOLS
            assert len((await call(client, "search", table="products", text="mug"))["rows"]) == 6
            assert (await call(client, "explain", table="products"))["watches"][0]["rows"] == 6
        async with over_http(url, TENANT) as client:
            assert len((await call(client, "search", table="products", text="mug"))["rows"]) == 3
            for tool in ("status", "failures"):
                assert "lacks the scope `admin`" in await refusal(client, tool)
            assert "lacks the scope `admin`" in await refusal(client, "explain", table="products")
        async with over_http(url, EMBED) as client:
            assert (await call(client, "embed", text="mug"))["dim"] == 16
            assert "lacks the scope `search`" in await refusal(client, "search", table="products", text="mug")
        async with over_http(url, None) as client:
            for tool, arguments in (("status", {}), ("failures", {}), ("embed", {"text": "mug"})):
                assert "missing_key" in await refusal(client, tool, **arguments)


async def test_a_service_without_keys_is_not_published_to_other_machines() -> None:
    async with live_server(make_encoder()) as port:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *PROGRAM, "--http", "--host", EVERYWHERE, "--port", str(find_free_port())),
            env=environment(f"http://127.0.0.1:{port}"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, printed = await process.communicate()
    assert process.returncode == 2
    assert f"ERROR: --host {EVERYWHERE}: the service asks for no keys" in printed.decode()


async def test_over_http_pages_of_other_sites_are_refused(service_url: str) -> None:
    async with http_server([], environment(service_url)) as url, httpx.AsyncClient() as client:
        asked: dict[str, Any] = {"json": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}}
        accept = {"Accept": "application/json, text/event-stream"}
        page = await client.post(url, **asked, headers={**accept, "Origin": "https://evil.example"})
        rebound = await client.post(url, **asked, headers={**accept, "Host": "evil.example"})
        assert (page.status_code, rebound.status_code) == (403, 421)


async def test_an_argument_that_a_tool_lacks_is_refused(service_url: str, database_url: str) -> None:
    async with over_stdio(service_url, database_url, ALL) as client:
        for tool in (await client.list_tools()).tools:
            assert tool.input_schema["additionalProperties"] is False
        misspelt = await refusal(client, "search", table="products", text="mug", filters={"tenant": 8})
        assert "`search` has no argument `filters`; it takes table, text," in misspelt
        assert "Did you mean `filter`?" in misspelt
        assert "`status` has no argument `table`; it takes none." in await refusal(client, "status", table="products")


async def test_wrong_arguments_are_described_in_the_words_of_rest(service_url: str, database_url: str) -> None:
    async with over_stdio(service_url, database_url, ALL) as client:
        for arguments, reason in (
            ({"k": 1000}, "`k` must be at most 100, not 1000."),
            ({"filter": []}, "`filter` must be an object, not a list."),
            ({"columns": "title"}, "`columns` must be a list, not a string."),
            ({"table": 1}, "`table` must be a string, not a number."),
            (
                {"similar_to": [3], "text": ""},
                "`similar_to` must be a string or a boolean or an integer or a number or",
            ),
            ({"similar_to": 77, "text": ""}, '`similar_to`: public.products has no row {"id":77}.'),
        ):
            assert reason in await refusal(client, "search", **{"table": "products", "text": "mug", **arguments})
        assert "The call of `embed` has no field `text`." in await refusal(client, "embed")
        assert "Did you mean products?" in await refusal(client, "explain", table="product")
        assert "connection" not in await refusal(client, "explain", table="a\0")


async def test_a_text_that_is_json_is_searched_for_as_it_is(service_url: str) -> None:
    async with over_stdio(service_url, "", ALL) as client:
        for text in ("null", "[1]", '{"a": 1}', "true"):
            assert len((await call(client, "search", table="products", text=text, target=None))["rows"]) == 6


async def test_a_key_that_a_search_shows_finds_its_row(service_url: str, database_url: str) -> None:
    with connect(database_url) as db:
        run(db, "create table coins (id numeric primary key, title text)")
        run(db, "insert into coins values (0.5, 'a'), (12345678901234567890.125, 'b')")
        run(db, "select sidecar.watch('coins', 'title', target => 'e', dimensions => 16)")
        fill_in(db, make_encoder(), "coins", "title", "e")
    async with over_stdio(service_url, "", ALL) as client:
        keys = [row["key"]["id"] for row in (await call(client, "search", table="coins", text="a"))["rows"]]
        assert sorted(map(str, keys)) == ["0.5", "12345678901234567890.125"]
        for key in keys:
            (other,) = (await call(client, "search", table="coins", similar_to=key))["rows"]
            assert other["key"]["id"] != key


async def test_what_cannot_be_sent_to_the_service_is_explained(service_url: str) -> None:
    for address in ("http://[::1", "http://127.0.0.1:99999"):
        async with over_stdio(address, "", ALL) as client:
            assert "has to correct SIDECAR_URL" in await refusal(client, "status")
    request = '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": %s}}'
    headers = {b"Accept": b"application/json", b"Content-Type": b"application/json"}
    async with http_server([], environment(service_url)) as url, httpx.AsyncClient() as client:
        for key, arguments, reason in (
            ("4f0c…", '{"table": "products", "text": "mug"}', "The key has characters that no key has."),
            (
                ALL,
                '{"table": "products", "text": "mug", "filter": {"price": 1e999}}',
                "NaN and Infinity are no numbers",
            ),
        ):
            sent = {**headers, b"Authorization": f"Bearer {key}".encode()}
            answer = await client.post(url, content=request % arguments, headers=sent)
            assert reason in answer.json()["result"]["content"][0]["text"]
