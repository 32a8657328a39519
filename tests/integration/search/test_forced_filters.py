"""A filter of the key's own: nothing that a caller asks for finds, names or measures a row that does not pass it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.http.errors import assert_error
from tests.integration.search.shop import DIMENSIONS, connect, keys, make_products, searching
from tests.integration.sql.session import run

SEVEN, CHEAP, WRONG_VALUE, WRONG_OPERATOR, COMPANION = (
    f"{name}-key-0123456789" for name in ("seven", "cheap", "value", "operator", "companion")
)
FILE = f"""
[[keys]]
key = "{SEVEN}"
scopes = ["search"]
filter = {{ tenant = 7 }}

[[keys]]
key = "{CHEAP}"
scopes = ["search"]
filter = {{ tenant = 7 }}
tables = [{{ table = "public.products", filter = {{ price = {{ "$lt" = 50 }} }} }}]

[[keys]]
name = "wrong-value"
key = "{WRONG_VALUE}"
scopes = ["search"]
filter = {{ tenant = "seven" }}

[[keys]]
name = "wrong-operator"
key = "{WRONG_OPERATOR}"
scopes = ["search"]
filter = {{ tenant = {{ "$prefix" = "7" }} }}

[[keys]]
key = "{COMPANION}"
scopes = ["search"]
tables = [{{ table = "public.pages", filter = {{ tenant = 7 }} }}]
"""
OF_TENANT_7, CHEAP_OF_TENANT_7 = {1, 2, 6}, {2, 6}
PAGES = """
    create table pages (id int primary key, title text, tenant int);
    insert into pages values (1, 'red bicycle', 7), (2, 'green mug', 8);
"""


@pytest.fixture
async def client(database_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    with connect(database_url) as db:
        encoder = make_products(db)
        run(db, PAGES)
        arguments = (
            f"target => 'e', dimensions => {DIMENSIONS}, companion => 'pages_vectors', expose => array['tenant']"
        )
        run(db, f"select sidecar.watch('pages', 'title', {arguments})")
        run(db, "update sidecar_internal.watches set fingerprint = %s, encoder = %s", encoder.fingerprint, "hash")
        ones = "[" + ",".join(["1"] * DIMENSIONS) + "]"
        run(db, "insert into pages_vectors (id, e) select id, %s from pages", ones)
    file = tmp_path / "keys"
    file.write_text(FILE)
    async with searching(database_url, encoder, api_keys_file=file) as client:
        yield client


async def search(client: httpx.AsyncClient, key: str, **body: Any) -> httpx.Response:
    body = {"table": "products", **body}
    if not {"text", "vector", "query"} & set(body):
        body["text"] = "mug"
    return await client.post("/search", json=body, headers={"Authorization": f"Bearer {key}"})


async def found(client: httpx.AsyncClient, key: str, **body: Any) -> set[int]:
    answer = await search(client, key, **body)
    assert answer.status_code == 200, answer.text
    return set(keys(answer.json()))


numbers = st.sampled_from([None, 0, 1, 4.5, 7, 8, 12, 99.9, 1000, "7", "NaN"])
texts = st.sampled_from(["red bicycle", "small boat", "", "%", "s"])
columns = st.one_of(
    st.fixed_dictionaries({"tenant": numbers}),
    st.fixed_dictionaries({"tenant": st.fixed_dictionaries({"$ne": st.integers(6, 9)})}),
    st.fixed_dictionaries({"tenant": st.fixed_dictionaries({"$null": st.booleans()})}),
    st.fixed_dictionaries({"price": st.fixed_dictionaries({"$gte": st.integers(0, 100)})}),
    st.fixed_dictionaries({"id": st.lists(st.integers(0, 9), min_size=1, max_size=4)}),
    st.fixed_dictionaries({"title": st.fixed_dictionaries({"$prefix": texts})}),
    st.just({}),
)
filters = st.recursive(
    columns,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$not": inner}),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=3)}),
        st.tuples(inner, inner).map(lambda both: {**both[0], **both[1]}),
    ),
    max_leaves=6,
)
asked = st.one_of(
    st.fixed_dictionaries({"text": texts.filter(str)}),
    st.fixed_dictionaries({"query": st.just([{"text": "boat"}, {"key": 2, "weight": -0.5}])}),
    st.fixed_dictionaries({"text": st.just("mug"), "diversity": st.floats(0, 1)}),
    st.fixed_dictionaries({"text": texts.filter(str), "hybrid": st.just({})}),
    st.fixed_dictionaries({"text": texts.filter(str), "targets": st.just(["e"])}),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(filter_=filters, query=asked)
async def test_whatever_the_caller_filters_by_only_rows_of_the_keys_own_filter_are_found(
    client: httpx.AsyncClient, filter_: dict[str, Any], query: dict[str, Any]
) -> None:
    answer = await search(client, SEVEN, filter=filter_, **query)
    if answer.status_code == 200:
        assert set(keys(answer.json())) <= OF_TENANT_7
    else:
        assert answer.json()["error"]["code"] == "invalid_filter_value", answer.text


async def test_filters_of_key_and_table_and_caller_all_apply(client: httpx.AsyncClient) -> None:
    assert await found(client, SEVEN) == OF_TENANT_7
    assert await found(client, CHEAP) == CHEAP_OF_TENANT_7
    assert await found(client, CHEAP, filter={"id": [1, 2, 3, 4]}) == {2}
    assert await found(client, CHEAP, filter={"$or": [{"tenant": 8}, {"price": {"$gte": 12}}]}) == {6}
    assert await found(client, CHEAP, filter={"$not": {"tenant": 7}}) == set()


async def test_a_hidden_row_is_no_key_of_a_mixed_query(client: httpx.AsyncClient) -> None:
    assert await found(client, CHEAP, query=[{"key": 2}, {"text": "lamp"}]) == {6}
    for key in (1, 3, 99):  # another price, another tenant, no such row
        refused = await search(client, CHEAP, query=[{"text": "lamp"}, {"key": key}])
        message = f'`query[1].key`: public.products has no row {{"id":{key}}}.'
        assert_error(refused, refused.status_code, "row_not_found", message, "query[1].key")


async def test_filters_apply_to_vectors_in_a_companion(client: httpx.AsyncClient) -> None:
    assert await found(client, COMPANION, table="pages") == {1}
    assert await found(client, COMPANION, table="pages", query=[{"key": 1}], include_keys=True) == {1}
    hidden = await search(client, COMPANION, table="pages", query=[{"key": 2}])
    assert hidden.json()["error"]["code"] == "row_not_found"


async def test_an_error_names_the_callers_own_filter_and_nothing_of_the_keys(client: httpx.AsyncClient) -> None:
    for filter_, code, param in (
        ({"tenant": "x"}, "invalid_filter_value", "filter.tenant"),
        ({"$or": [{"id": 1}, {"price": {"$lt": "x"}}]}, "invalid_filter_value", "filter.$or[1].price.$lt"),
        ({"title": {"$any": ["x"]}}, "column_not_comparable", "filter.title.$any"),
        ({"secret": 1}, "column_not_exposed", "filter.secret"),
    ):
        refused = await search(client, CHEAP, filter=filter_)
        assert_error(refused, refused.status_code, code, f"`{param}`", param)
        assert "$and" not in refused.text


async def test_a_filter_of_the_key_that_does_not_suit_its_column_is_for_the_log_only(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for key in (WRONG_VALUE, WRONG_OPERATOR):
        for query in ({}, {"filter": {"id": 1}}, {"query": [{"key": 2}]}):
            refused = await search(client, key, **query)
            assert_error(refused, 403, "filter_not_applicable", "The key's own filter cannot be applied to this table.")
            assert "seven" not in refused.text
    value, operator = (record.getMessage() for record in caplog.records if record.levelno == logging.ERROR)
    assert value.startswith("The key 'wrong-value' cannot search public.products.e: its filter in API_KEYS_FILE cannot")
    assert "filter.tenant: invalid input syntax" in value
    assert "filter.tenant.$prefix: a column of type integer cannot be compared so" in operator
