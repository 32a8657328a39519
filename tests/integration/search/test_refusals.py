"""Rejected searches: the error says what is wrong, and reveals nothing about tables that are not watched."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema_rs
import pytest
from pydantic import SecretStr

from tests.encoders import HashEncoder
from tests.integration.http.errors import assert_error
from tests.integration.search.shop import DIMENSIONS, search, searching
from tests.integration.sql.session import Connection, run

ONES = [1.0] * DIMENSIONS
# Changes of {"table": "products", "text": "a"}; status, code, start of the message, and param of the error.
REFUSED: list[tuple[dict[str, Any], int, str, str, str | None]] = [
    ({"text": None}, 422, "wrong_query", "Give one of `text`, `image`, `vector` and `query`, there is none", None),
    ({"vector": ONES}, 422, "wrong_query", "Give one of `text`, `image`, `vector` and `query`, not", "text"),
    ({"text": " "}, 422, "empty_text", "`text` is empty", "text"),
    ({"text": "a\0"}, 422, "invalid_text", "`text` contains", "text"),
    ({"text": "x" * 300}, 422, "text_too_long", "`text` has 300 characters", "text"),
    ({"text": 7}, 422, "wrong_type", "`text` must be a string", "text"),
    ({"k": 0}, 422, "out_of_range", "`k` must be at least 1", "k"),
    ({"k": 51}, 422, "out_of_range", "`k` is 51; at most 50 (MAX_SEARCH_ROWS)", "k"),
    ({"k": True}, 422, "wrong_type", "`k` must be an integer", "k"),
    ({"rerank": {"top_k": 51}}, 422, "out_of_range", "`rerank.top_k` is 51", "rerank.top_k"),
    ({"text": None, "vector": ONES[1:]}, 422, "wrong_dimensions", "`vector` has 15 numbers", "vector"),
    ({"text": None, "vector": [0] * DIMENSIONS}, 422, "invalid_vector", "`vector` has no direction", "vector"),
    ({"text": None, "vector": [1e300] * DIMENSIONS}, 422, "invalid_vector", "`vector` has no direction", "vector"),
    ({"text": None, "image": "photo.jpg"}, 422, "invalid_image_reference", "`image` must be the data URI", "image"),
    ({"text": None, "image": "data:image/png;base64,AAAA"}, 422, "not_a_picture", "`image`", "image"),
    ({"filter": {"tenant": {"gt": 1}}}, 422, "invalid_filter", "`filter.tenant`: 'gt' is not", "filter.tenant"),
    ({"filter": [["tenant", 7]]}, 422, "wrong_type", "`filter` must be an object", "filter"),
    ({"filter": {"$nor": [{"id": 1}]}}, 422, "invalid_filter", "`filter.$nor`: there is no such op", "filter.$nor"),
    ({"filter": {"secret": "s1"}}, 403, "column_not_exposed", "`filter.secret`: the watch does not", "filter.secret"),
    ({"filter": {"nope": 1}}, 403, "column_not_exposed", "`filter.nope`: the watch does not", "filter.nope"),
    ({"filter": {"e": "[1]"}}, 403, "column_not_exposed", "`filter.e`: the watch does not", "filter.e"),
    ({"filter": {"ctid": "(0,1)"}}, 403, "column_not_exposed", "`filter.ctid`: the watch does not", "filter.ctid"),
    ({"columns": ["titel"]}, 403, "column_not_exposed", "`columns[0]`: the watch does not", "columns[0]"),
    ({"columns": ["title", "secret"]}, 403, "column_not_exposed", "`columns[1]`: the watch does not", "columns[1]"),
    ({"columns": ["title"] * 1600}, 422, "duplicate_column", "`columns[1]` names 'title' again", "columns[1]"),
    ({"filter": {"tenant": [7] * 1001}}, 422, "too_many_values", "`filter.tenant` has 1001 values", "filter.tenant"),
    ({"filter": {str(n): {} for n in range(1001)}}, 422, "too_many_values", "`filter` has 1001 conditions", "filter"),
    ({"columns": ["title"] * 1601}, 422, "too_long", "`columns` has 1601 items; it must have at most 1600", "columns"),
    ({"text": None, "vector": [0] * 16001}, 422, "too_long", "`vector` has 16001 items", "vector"),
    ({"filter": {"tenant": "7" * 10_001}}, 422, "invalid_filter_value", "`filter.tenant` has 10001", "filter.tenant"),
    ({"table": "a." * 501}, 422, "too_long", "`table` must have at most 1000 characters", "table"),
    ({"target": "a" * 1001}, 422, "too_long", "`target` must have at most 1000 characters", "target"),
    ({"k": 10, "offset": 41}, 422, "out_of_range", "`offset` + `k` is 51; at most 50 (MAX_SEARCH_ROWS)", "offset"),
    ({"offset": -1}, 422, "out_of_range", "`offset` must be at least 0", "offset"),
    (
        {"text": "mug", "hybrid": {"vector_weight": 0, "text_weight": 0}},
        *(422, "out_of_range", "`hybrid.vector_weight` and `hybrid.text_weight` are both 0", "hybrid.vector_weight"),
    ),
    (
        {"targets": [{"target": "e", "weight": 0}]},
        *(422, "out_of_range", "All weights of `targets` are 0", "targets"),
    ),
    ({"min_score": 1.5}, 422, "out_of_range", "`min_score` must be at most 1", "min_score"),
    ({"after": "bm8="}, 422, "wrong_cursor", "`after` must be the `next` of an answer", "after"),
    ({"after": "no", "offset": 1}, 422, "wrong_page", "Give `after` or `offset`", "offset"),
    ({"after": "no", "diversity": 0.5}, 422, "wrong_page", "`after` cannot go with `diversity`", "diversity"),
    ({"table": "secrets"}, 404, "unknown_watch", "No table 'secrets' is watched.", "table"),
    ({"table": "no_such_table"}, 404, "unknown_watch", "No table 'no_such_table' is watched.", "table"),
    ({"table": "pg_catalog.pg_class"}, 404, "unknown_watch", "No table 'pg_catalog.pg_class' is watched.", "table"),
    ({"table": "other.products"}, 404, "unknown_watch", "No table 'other.products' is watched.", "table"),
    ({"table": "a.b.c"}, 404, "unknown_watch", "No table 'a.b.c' is watched.", "table"),
    ({"table": "x y"}, 404, "unknown_watch", "No table 'x y' is watched.", "table"),
    ({"table": ""}, 404, "unknown_watch", "No table '' is watched.", "table"),
    ({"table": "a\0b"}, 404, "unknown_watch", "No table", "table"),
    ({"target": "title"}, 404, "unknown_watch", "'products' has no watch with the target 'title'", "target"),
    ({"table": None}, 422, "wrong_type", "`table` must be a string", "table"),
]  # fmt: skip


async def test_an_invalid_search_is_rejected_with_the_reason(
    db: Connection, database_url: str, encoder: HashEncoder
) -> None:
    run(db, "create table secrets (id int primary key); create schema other; create table other.products (id int)")
    async with searching(database_url, encoder, max_search_rows=50, max_text_chars=200) as client:
        for change, status, code, message, param in REFUSED:
            response = await client.post("/search", json={"table": "products", "text": "a", **change})
            assert response.status_code == status, (change, response.text)
            assert_error(response, status, code, message, param)


async def test_a_misspelt_field_is_rejected(client: httpx.AsyncClient) -> None:
    for field in ("filters", "limit", "column"):
        response = await client.post("/search", json={"table": "products", "text": "a", field: {"tenant": 7}})
        assert response.status_code == 422
        assert response.json()["error"]["param"] == field


async def test_a_name_in_two_schemas_must_be_qualified(db: Connection, client: httpx.AsyncClient) -> None:
    run(db, "create schema other; create table other.products (id int primary key, title text)")
    run(db, f"select sidecar.watch('other.products', 'title', target => 'e', dimensions => {DIMENSIONS})")
    response = await client.post("/search", json={"table": "products", "text": "a"})
    assert_error(response, 422, "ambiguous_watch", "`table` may be other.products, public.products", "table")
    assert (await search(client, table="public.products", text="a"))["watch"]["table"] == "public.products"


async def test_vectors_of_another_model_are_not_compared(
    db: Connection, database_url: str, encoder: HashEncoder
) -> None:
    other = HashEncoder("other", dimensions=DIMENSIONS)
    async with searching(database_url, other) as client:
        response = await client.post("/search", json={"table": "products", "text": "a"})
        said = f"The vectors of public.products.e are of another model, hash ({encoder.fingerprint})"
        assert_error(response, 409, "other_model", said, "table")
        run(db, "update sidecar_internal.watches set fingerprint = null")
        assert (await search(client, text="a"))["results"] == []
    async with searching(database_url, HashEncoder(dimensions=8)) as client:
        response = await client.post("/search", json={"table": "products", "text": "a"})
        assert_error(response, 409, "other_model", "The vectors of public.products.e are of another model, 16", "table")


async def test_dropped_columns_are_a_conflict(db: Connection, client: httpx.AsyncClient) -> None:
    run(db, "alter table products rename price to cost")
    for body, param in (({"columns": ["price"]}, "columns[0]"), ({"filter": {"price": 1}}, "filter.price")):
        response = await client.post("/search", json={"table": "products", "text": "a", **body})
        assert_error(response, 409, "column_gone", f"`{param}`: column 'price' was exposed", param)


async def test_an_ended_watch_is_not_searched(db: Connection, client: httpx.AsyncClient) -> None:
    run(db, "select sidecar.unwatch('products')")
    response = await client.post("/search", json={"table": "products", "text": "a"})
    assert_error(response, 404, "unknown_watch", "No table 'products' is watched.", "table")


async def test_an_answer_that_is_too_large_is_rejected(db: Connection, client: httpx.AsyncClient) -> None:
    run(db, "update products set title = repeat('x', 12000000)")
    response = await client.post("/search", json={"table": "products", "text": "a"})
    assert_error(response, 422, "answer_too_large", "The columns of 6 rows are more than", "columns")
    assert len((await search(client, text="a", columns=["price"]))["results"]) == 6


async def test_without_a_database_it_is_a_404() -> None:
    async with searching(None, HashEncoder(dimensions=DIMENSIONS)) as client:
        response = await client.post("/search", json={"table": "products", "text": "a"})
        assert_error(response, 404, "no_database", "There is nothing to search: DATABASE_URL is not set.")


@pytest.mark.parametrize("scopes", ["embed", "admin"])
async def test_a_key_needs_the_search_scope(database_url: str, encoder: HashEncoder, scopes: str) -> None:
    right, wrong = "k" * 32, "w" * 32
    keys = SecretStr(f"search:{right},{scopes}:{wrong}")
    async with searching(database_url, encoder, api_keys=keys) as client:
        body = {"table": "products", "text": "a"}
        for key, status in ((None, 401), (wrong, 403), (right, 200)):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            assert (await client.post("/search", json=body, headers=headers)).status_code == status


async def test_long_names_are_cut_in_errors(client: httpx.AsyncClient) -> None:
    long = "x" * 900
    for change in (
        {"filter": {long: 1}},
        {"filter": {"$not": {long: {"$gt": "\0"}}}},
        {"columns": [long]},
        {"rerank": {long: 1}},
        {long: 1},
        {"target": long},
        {"targets": [long]},
        {"targets": ["e", {"target": "e", long: 1}]},
        {"query": [{"key": {long: 1}}], "text": None},
    ):
        response = await client.post("/search", json={"table": "products", "text": "a", **change})
        error = response.json()["error"]
        assert response.status_code in {403, 404, 422}, change
        assert len(error["param"] or "") <= 201, error["param"]
        assert "x" * 201 not in error["message"], error["message"]


async def test_the_document_refuses_what_is_refused_whatever_the_table(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    schema = {"$ref": "#/components/schemas/SearchBody", "components": document["components"]}
    validator = jsonschema_rs.validator_for(schema)
    body = {"table": "products", "text": "a"}
    assert validator.is_valid({**body, "filter": {"$not": {"tenant": 7}}})
    refused: list[dict[str, Any]] = [
        {**body, "filter": {"$not": None}},
        {**body, "hybrid": {"columns": []}},
        {"table": "products", "query": []},
        {**body, "targets": []},
        {**body, "targets": [{"weight": 1}]},
    ]
    for each in refused:
        assert (await client.post("/search", json=each)).status_code == 422
        assert not validator.is_valid(each), each
