"""Keys bound to tables and rows: what is not theirs appears not to exist."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.encoders import HashEncoder
from tests.integration.http.errors import assert_error
from tests.integration.search.shop import DIMENSIONS, connect, keys, make_products, searching
from tests.integration.sql.session import Connection, run
from tests.waiting import wait_until_async

BOUND, OF_TARGET, TENANT, WIDE = (f"{name}-key-0123456789" for name in ("bound", "target", "tenant", "wide"))
MISFIT, LIMITED, FULL, UNREADABLE = (f"{name}-key-0123456789" for name in ("misfit", "limited", "full", "unreadable"))

FILE = f"""
[[keys]]
name = "bound"
key = "{BOUND}"
scopes = ["search"]
tables = ["public.products"]

[[keys]]
key = "{OF_TARGET}"
scopes = ["search"]
tables = [{{ table = "shop.items", target = "e" }}, "shop.never_watched"]

[[keys]]
name = "tenant"
key = "{TENANT}"
scopes = ["search"]
filter = {{ tenant = 7 }}
tables = ["public.products"]

[[keys]]
name = "misfit"
key = "{MISFIT}"
scopes = ["search"]
filter = {{ secret = "s1" }}

[[keys]]
key = "{UNREADABLE}"
scopes = ["search"]
filter = {{ tenant = "many" }}

[[keys]]
name = "limited"
key = "{LIMITED}"
scopes = ["embed", "admin"]
rate = "1/hour"
burst = 2

[[keys]]
key = "{FULL}"
scopes = ["embed", "search"]
quota = "3/day"

[[keys]]
key = "{WIDE}"
scopes = ["embed", "search", "admin"]
"""


@pytest.fixture
async def client(database_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    encoder: HashEncoder
    with connect(database_url) as db:
        encoder = make_products(db)
        _make_others(db)
    file = tmp_path / "keys"
    file.write_text(FILE)
    async with searching(database_url, encoder, api_keys_file=file) as client:
        yield client


def _make_others(db: Connection) -> None:
    """A table of the same name in another schema, one with two targets, and one that is not watched."""
    run(db, "create schema shop; create table shop.products (id int primary key, title text)")
    run(db, "create table shop.items (id int primary key, title text, name text); create table unwatched (id int)")
    run(db, f"select sidecar.watch('shop.products', 'title', target => 'e', dimensions => {DIMENSIONS})")
    run(db, f"select sidecar.watch('shop.items', 'title', target => 'e', dimensions => {DIMENSIONS})")
    run(db, f"select sidecar.watch('shop.items', 'name', target => 'e2', dimensions => {DIMENSIONS})")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def search(client: httpx.AsyncClient, key: str, **body: Any) -> httpx.Response:
    return await client.post("/search", json={"table": "products", "text": "mug", **body}, headers=bearer(key))


async def embed(client: httpx.AsyncClient, key: str) -> httpx.Response:
    return await client.post("/embed/text", json={"text": "a"}, headers=bearer(key))


async def test_a_key_searches_its_tables_under_every_name_they_have(client: httpx.AsyncClient) -> None:
    for name in ("products", "PRODUCTS", "public.products", '"public"."products"'):
        found = await search(client, BOUND, table=name)
        assert found.status_code == 200, found.text
        assert found.json()["watch"]["table"] == "public.products"
        assert len(found.json()["results"]) == 6
    assert (await search(client, WIDE, table="products")).json()["error"]["code"] == "ambiguous_watch"
    assert (await search(client, OF_TARGET, table="items")).json()["watch"]["target"] == "e"


async def test_other_tables_cannot_be_told_from_tables_that_do_not_exist(client: httpx.AsyncClient) -> None:
    refused = []
    for key, name in (
        (BOUND, "shop.products"),
        (BOUND, "shop.items"),
        (BOUND, "items"),
        (BOUND, "unwatched"),
        (BOUND, "no_such_table"),
        (BOUND, "product"),
        (BOUND, "pg_catalog.pg_class"),
        (BOUND, "products.e"),
        (BOUND, "a.b.c"),
        (BOUND, "a\0b"),
        (BOUND, ""),
        (OF_TARGET, "shop.never_watched"),
        (OF_TARGET, "never_watched"),
        (OF_TARGET, "products"),
    ):
        answer = await search(client, key, table=name)
        assert_error(answer, 403, "forbidden_table", "The key opens no table of this name, or no such target of it.")
        refused.append(answer.text)
    assert len(set(refused)) == 1


async def test_another_target_of_a_bound_table_is_like_one_that_does_not_exist(client: httpx.AsyncClient) -> None:
    existing = await search(client, OF_TARGET, table="shop.items", target="e2")
    invented = await search(client, OF_TARGET, table="shop.items", target="e3")
    assert existing.status_code == invented.status_code
    assert existing.text == invented.text.replace("e3", "e2")


async def test_a_filter_of_the_key_holds_without_one_of_the_caller(client: httpx.AsyncClient) -> None:
    assert set(keys((await search(client, TENANT)).json())) == {1, 2, 6}


async def test_a_key_whose_filter_does_not_fit_is_refused_and_the_log_says_why(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        refused = await search(client, MISFIT, table="public.products")
        assert_error(refused, 403, "filter_not_applicable", "The key's own filter cannot be applied to this table.")
        assert "secret" not in refused.text
    complaints = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(complaints) == 1
    assert complaints[0] == (
        "The key 'misfit' cannot search public.products.e: its filter in API_KEYS_FILE cannot be applied: column "
        "'secret' is neither a key nor exposed: sidecar.watch(…, expose => …, replace => true)."
    )


async def test_a_forced_filter_that_its_column_cannot_read_stays_unknown_to_the_caller(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    refused = await search(client, UNREADABLE, table="public.products")
    assert_error(refused, 403, "filter_not_applicable", "The key's own filter cannot be applied to this table.")
    assert "tenant" not in refused.text
    assert 'invalid input syntax for type integer: "many"' in caplog.text


async def test_a_fault_in_the_callers_filter_is_named_as_the_caller_wrote_it(client: httpx.AsyncClient) -> None:
    refused = await search(client, TENANT, filter={"price": {"$lt": "cheap"}})
    assert_error(refused, 422, "invalid_filter_value", "`filter.price.$lt`: invalid input syntax", "filter.price.$lt")


async def test_the_start_and_each_change_of_the_keys_name_those_that_fit_no_watch(
    client: httpx.AsyncClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings() -> str:
        return "\n".join(
            line.getMessage()
            for line in [*caplog.get_records("setup"), *caplog.records]
            if line.name.endswith("key_check")
        )

    cannot = "cannot search public.products.e: its filter in API_KEYS_FILE cannot be applied: "
    for expected in (
        "A key without a name is bound to shop.never_watched, which is not watched",
        f"The key 'misfit' {cannot}column 'secret' is neither a key nor exposed",
        f"A key without a name {cannot}filter.tenant: invalid input syntax for type integer",
    ):
        await wait_until_async(partial(said, warnings, expected), expected)
    assert "The key 'bound'" not in warnings()
    assert "The key 'tenant'" not in warnings()
    (tmp_path / "keys").write_text(FILE.replace('tables = ["public.products"]', 'tables = ["public.gone"]'))
    gone = "The key 'bound' is bound to public.gone, which is not watched"
    await wait_until_async(partial(said, warnings, gone), gone)


async def test_a_table_that_cannot_be_searched_keeps_no_other_from_being_checked(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(database_url) as db:
        encoder = make_products(db)
        run(db, "create table pages (id int primary key, title text, tenant int)")
        arguments = f"target => 'e', dimensions => {DIMENSIONS}, companion => 'vectors', expose => array['tenant']"
        run(db, f"select sidecar.watch('pages', 'title', {arguments}); drop table vectors cascade")
    file = tmp_path / "keys"
    file.write_text(
        f'[[keys]]\nkey = "{TENANT}"\nscopes = ["search"]\nfilter = {{ tenant = 7 }}\n'
        f'[[keys]]\nname = "unreadable"\nkey = "{UNREADABLE}"\nscopes = ["search"]\ntables = ["public.products"]\n'
        'filter = { tenant = "many" }\n'
    )
    async with searching(database_url, encoder, api_keys_file=file):
        for expected in (
            "A key without a name cannot search public.pages.e: ",
            "The key 'unreadable' cannot search public.products.e: ",
        ):
            await wait_until_async(partial(said, lambda: caplog.text, expected), expected)


async def said(printed: Callable[[], str], words: str) -> bool:
    return words in printed()


async def test_a_key_beyond_its_rate_gets_429_until_the_next_request_is_due(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        assert (await embed(client, LIMITED)).status_code == 200
    answer = await embed(client, LIMITED)
    assert_error(answer, 429, "rate_limited", "The key permits 1 request per hour, 2 at once.")
    assert 3590 <= int(answer.headers["retry-after"]) <= 3600
    assert (await client.get("/status", headers=bearer(LIMITED))).status_code == 429


async def test_a_key_whose_quota_is_used_up_waits_for_the_next_day(client: httpx.AsyncClient) -> None:
    assert (await search(client, FULL, table="nope")).status_code == 404
    assert (await search(client, FULL, filter=[])).status_code == 422
    assert (await embed(client, FULL)).status_code == 200
    refused = await search(client, FULL)
    assert_error(refused, 429, "quota_used_up", "The key's 3 requests of today are used up.")
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400


async def test_refusals_are_counted_by_reason_and_by_the_names_of_keys(client: httpx.AsyncClient) -> None:
    await search(client, BOUND, table="nope")
    await search(client, MISFIT, table="public.products")
    await search(client, OF_TARGET, table="nope")
    for _ in range(4):
        await client.get("/status", headers=bearer(LIMITED))
    page = (await client.get("/metrics", headers=bearer(WIDE))).text
    for line in (
        'sidecar_http_access_denied_total{reason="forbidden_table"} 2.0',
        'sidecar_http_access_denied_total{reason="filter_not_applicable"} 1.0',
        'sidecar_http_access_denied_total{reason="rate_limited"} 2.0',
        'sidecar_http_access_denied_total{reason="quota_used_up"} 0.0',
        'sidecar_http_access_denied_by_key_total{key="bound",reason="forbidden_table"} 1.0',
        'sidecar_http_access_denied_by_key_total{key="limited",reason="rate_limited"} 2.0',
    ):
        assert line in page


async def test_the_log_line_of_a_request_has_the_name_of_its_key(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for key in (BOUND, OF_TARGET):
        await search(client, key, table="nope")
    lines = [
        line for line in caplog.records if line.name == "sidecar.http.access_log" and "/search" in line.getMessage()
    ]
    assert [line.__dict__["fields"].get("key") for line in lines] == ["bound", None]


async def test_a_bound_key_without_the_scope_admin_reads_no_status_and_no_metrics(client: httpx.AsyncClient) -> None:
    for path in ("/status", "/metrics"):
        assert_error(await client.get(path, headers=bearer(TENANT)), 403, "forbidden_scope", "The key lacks the scope")


async def test_rows_that_a_forced_filter_hides_are_neither_examples_nor_results_of_a_hybrid_search(
    client: httpx.AsyncClient,
) -> None:
    """Of the products, 3, 4 and 5 are not of tenant 7; 99 does not exist."""
    hidden, absent = [
        await client.post("/search", json={"table": "products", "query": [{"key": key}]}, headers=bearer(TENANT))
        for key in (3, 99)
    ]
    assert_error(hidden, 422, "row_not_found", '`query[0].key`: public.products has no row {"id":3}.', "query[0].key")
    assert absent.text == hidden.text.replace('{\\"id\\":3}', '{\\"id\\":99}')
    own = await client.post("/search", json={"table": "products", "query": [{"key": 1}]}, headers=bearer(TENANT))
    assert sorted(keys(own.json())) == [2, 6]
    words = "lighthouse or boat or lamp or mug"
    hybrid = await search(client, TENANT, hybrid={"text": words}, diversity=0.3)
    assert sorted(keys(hybrid.json())) == [1, 2, 6]
