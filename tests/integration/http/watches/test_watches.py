"""`GET /watches`: what a key may search, and whether it can be searched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.encoders import HashEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.search.shop import DIMENSIONS, connect, make_products, searching
from tests.integration.sql.session import Connection, run

BOUND, TENANT, EMBED = (f"{name}-key-0123456789" for name in ("bound", "tenant", "embed"))
KEYS = f"""
[[keys]]
key = "{BOUND}"
scopes = ["search"]
tables = [{{ table = "shop.items", target = "e2" }}, "public.missing"]

[[keys]]
key = "{TENANT}"
scopes = ["search"]
filter = {{ tenant = 7 }}

[[keys]]
key = "{EMBED}"
scopes = ["embed"]
"""


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as connection:
        yield connection


@pytest.fixture
def encoder(db: Connection) -> HashEncoder:
    return make_products(db)


async def read(client: httpx.AsyncClient, key: str = "") -> list[dict[str, Any]]:
    response = await client.get("/watches", headers={"Authorization": f"Bearer {key}"} if key else {})
    assert response.status_code == 200, response.text
    watches: list[dict[str, Any]] = response.json()["watches"]
    return watches


async def test_a_watch_is_listed_with_its_key_and_the_columns_that_it_exposes(
    database_url: str, encoder: HashEncoder
) -> None:
    async with searching(database_url, encoder) as client:
        (watch,) = await read(client)
        found = await client.post("/search", json={"table": watch["table"], "target": watch["target"], "text": "mug"})
    assert found.status_code == 200
    assert watch == {
        "watch": "public.products.e",
        "table": "public.products",
        "target": "e",
        "companion": None,
        "kind": "text",
        "source": ["title"],
        "key_columns": ["id"],
        "columns": [
            {"name": "title", "type": "text", "comparable": True},
            {"name": "price", "type": "numeric", "comparable": True},
            {"name": "tenant", "type": "integer", "comparable": True},
        ],
        "has_thumbnails": False,
        "dimensions": DIMENSIONS,
        "storage": "vector",
        "index": "halfvec",
        "required_model": None,
        "paused": False,
        "model": encoder.model_id,
        "searchable": True,
        "problem": None,
        "warnings": [],
    }


async def test_a_watch_that_no_search_can_use_says_why(database_url: str, encoder: HashEncoder, db: Connection) -> None:
    run(db, "update sidecar_internal.watches set fingerprint = 'another', encoder = 'theirs'")
    run(db, "alter table products drop column price; select sidecar.pause()")
    run(db, "create table notes (id int primary key, body text, at timestamp(3), place point)")
    expose = "expose => array['at', 'place']"
    run(db, f"select sidecar.watch('notes', 'body', target => 'e', dimensions => {DIMENSIONS}, {expose})")
    async with searching(database_url, encoder) as client:
        products, notes = await read(client)
    assert (products["searchable"], products["model"]) == (False, "theirs")
    assert products["problem"].startswith("The vectors of public.products.e are of another model, theirs (another)")
    assert [column["name"] for column in products["columns"]] == ["title", "tenant"]
    assert [warning.split()[0:4] for warning in products["warnings"]] == [
        ["The", "watch", "is", "paused:"],
        ["Exposed", "columns", "that", "no"],
    ]
    assert (notes["searchable"], notes["model"]) == (True, None)
    assert notes["warnings"] == ["The watch holds no vectors yet."]
    assert [(column["type"], column["comparable"]) for column in notes["columns"]] == [
        ("timestamp(3) without time zone", True),
        ("point", False),
    ]


async def test_settings_are_those_that_the_watch_was_given(database_url: str, db: Connection) -> None:
    run(db, "create table notes (id int primary key, body text)")
    call = """sidecar.watch('notes', 'body', target => 'e', companion => '"Odd vectors"', dimensions => 16,
                            model => 'theirs', storage => 'halfvec', index => 'using hnsw with (m = 24)')"""
    run(db, f"select {call}; select sidecar.pause('notes')")
    async with searching(database_url, HashEncoder()) as client:
        (watch,) = await read(client)
    assert (watch["companion"], watch["storage"], watch["paused"]) == ('public."Odd vectors"', "halfvec", True)
    assert (watch["index"], watch["required_model"]) == ("using hnsw (e halfvec_cosine_ops) with (m = 24)", "theirs")


async def test_names_that_need_quotes_are_those_that_a_search_takes(
    database_url: str, encoder: HashEncoder, db: Connection
) -> None:
    run(db, """create schema "My ""Shop"; create table "My ""Shop"."A.b" (id int primary key, "<b>&" text)""")
    call = "select sidecar.watch(%s, '<b>&', target => 'e.x', dimensions => 16, expose => array['<b>&'])"
    db.execute(call, ('"My ""Shop"."A.b"',))
    async with searching(database_url, encoder) as client:
        _, odd = await read(client)
        body = {"table": odd["table"], "target": odd["target"], "text": "a"}
        assert (await client.post("/search", json=body)).json()["results"] == []
    assert (odd["table"], odd["target"], odd["watch"]) == ('"My ""Shop"."A.b"', "e.x", '"My ""Shop"."A.b".e.x')
    assert odd["columns"] == [{"name": "<b>&", "type": "text", "comparable": True}]


async def test_a_bound_key_sees_no_other_watch_and_a_filter_that_fits_none_is_a_problem(
    database_url: str, encoder: HashEncoder, db: Connection, tmp_path: Path
) -> None:
    run(db, "create schema shop; create table shop.items (id int primary key, title text)")
    for target in ("e", "e2"):
        call = "select sidecar.watch('shop.items', 'title', target => %s, dimensions => %s)"
        db.execute(call, (target, DIMENSIONS))
    file = tmp_path / "keys"
    file.write_text(KEYS)
    async with searching(database_url, encoder, api_keys_file=file) as client:
        assert [watch["watch"] for watch in await read(client, BOUND)] == ["shop.items.e2"]
        products, *items = await read(client, TENANT)
        assert products["searchable"]
        assert {watch["problem"] for watch in items} == {
            "The key's own filter cannot be applied to this table. The service's log says why."
        }
        assert_error(await client.get("/watches"), 401, "missing_key", "")
        denied = await client.get("/watches", headers={"Authorization": f"Bearer {EMBED}"})
        assert_error(denied, 403, "forbidden_scope", "")


async def test_without_watches_without_a_database_and_while_it_is_away(database_url: str, serving: Serving) -> None:
    async with searching(database_url, HashEncoder()) as client:
        assert await read(client) == []
    async with serving() as client:
        assert_error(await client.get("/watches"), 404, "no_database", "There are no watches")
    async with serving(database_url=SecretStr("postgresql://nobody:x@127.0.0.1:1/nothing"), ingest=False) as client:
        refused = await client.get("/watches")
        assert_error(refused, 503, "database_unavailable", "The service does not reach its database.")
        assert refused.headers["retry-after"] == "1"
