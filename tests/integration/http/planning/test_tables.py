"""`GET /tables`: what can be watched, what is, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.encoders import HashEncoder
from tests.integration.http.errors import assert_error
from tests.integration.roles.cast import Stage
from tests.integration.search.shop import connect, make_products, searching
from tests.integration.sql.session import Connection, run, value

TABLES = """
create domain label as text;
create schema "My ""Shop";
create table "My ""Shop"."A.b" (id int primary key, "<b>&" label, photo bytea, n int);
create table heap (title text);
create table odd_keys (id point, name text, primary key (name));
create table parents (id int primary key, title text);
create table children (primary key (id)) inherits (parents);
create table events (id int primary key, title text) partition by range (id);
create table events_1 partition of events for values from (0) to (1000);
insert into events select n, 'title ' || n from generate_series(1, 200) n;
create view shown as select * from heap;
create temporary table passing (id int primary key);
analyze events, events_1;
"""


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as connection:
        yield connection


@pytest.fixture
def encoder(db: Connection) -> HashEncoder:
    encoder = make_products(db)
    run(db, TABLES)
    return encoder


async def read(client: httpx.AsyncClient, **query: Any) -> dict[str, dict[str, Any]]:
    response = await client.get("/tables", params=query)
    assert response.status_code == 200, response.text
    return {table["table"]: table for table in response.json()["tables"]}


async def test_tables_are_listed_with_their_columns_keys_and_watches(database_url: str, encoder: HashEncoder) -> None:
    async with searching(database_url, encoder) as client:
        tables = await read(client)
    assert list(tables) == [
        *('"My ""Shop"."A.b"', "public.children", "public.events", "public.heap"),
        *("public.odd_keys", "public.parents", "public.products"),
    ]
    odd = tables['"My ""Shop"."A.b"']
    assert (odd["key_columns"], odd["problem"], odd["rows"]) == (["id"], None, None)
    assert odd["columns"] == [
        {"name": "id", "type": "integer", "kind": None},
        {"name": "<b>&", "type": "public.label", "kind": "text"},
        {"name": "photo", "type": "bytea", "kind": "image"},
        {"name": "n", "type": "integer", "kind": None},
    ]
    assert tables["public.products"]["watches"] == ["e"]
    assert (tables["public.events"]["rows"], tables["public.events"]["bytes"] > 8192) == (200, True)


async def test_a_table_that_cannot_be_watched_says_why(database_url: str, encoder: HashEncoder) -> None:
    async with searching(database_url, encoder) as client:
        tables = await read(client)
    heap, child = tables["public.heap"]["problem"], tables["public.children"]["problem"]
    assert (heap["message"], heap["sqlstate"]) == ("table public.heap has no primary key", "42P16")
    assert "add column id bigint generated always as identity" in heap["hint"]
    assert "takes part in table inheritance" in child["message"]


async def test_tables_are_found_by_the_beginning_of_their_name(database_url: str, encoder: HashEncoder) -> None:
    async with searching(database_url, encoder) as client:
        assert list(await read(client, search="PROD")) == ["public.products"]
        assert list(await read(client, search="public.p")) == ["public.parents", "public.products"]
        assert list(await read(client, search='"My ""Shop"."A')) == ['"My ""Shop"."A.b"']
        assert list(await read(client, search='"A')) == ['"My ""Shop"."A.b"']
        assert await read(client, search="%") == {}
        first = (await client.get("/tables", params={"limit": 2})).json()
        assert ([table["table"] for table in first["tables"]], first["has_more"]) == (
            ['"My ""Shop"."A.b"', "public.children"],
            True,
        )
        assert not (await client.get("/tables")).json()["has_more"]
        assert_error(await client.get("/tables", params={"limit": 0}), 422, "out_of_range", "", "limit")
        assert_error(await client.get("/tables", params={"serach": "a"}), 422, "unknown_field", "", "serach")


async def test_companions_are_left_out_and_a_watched_partition_is_listed(
    database_url: str, encoder: HashEncoder, db: Connection
) -> None:
    watch = "select sidecar.watch(%s, 'title', target => 'v', dimensions => 16, companion => %s)"
    run(db, watch, "events_1", "vectors")
    async with searching(database_url, encoder) as client:
        tables = await read(client)
    assert tables["public.events_1"]["watches"] == ["v"]
    assert "public.vectors" not in tables


async def test_a_locked_table_is_listed_without_its_size(
    database_url: str, encoder: HashEncoder, db: Connection
) -> None:
    async with searching(database_url, encoder) as client:
        with psycopg.connect(database_url) as other:
            other.execute("lock table events")
            tables = await read(client)
    assert (tables["public.events"]["rows"], tables["public.events"]["bytes"]) == (None, None)
    assert tables["public.products"]["bytes"] > 0


async def test_the_roles_of_sidecars_are_found_without_reading_all_tables(
    database_url: str, encoder: HashEncoder, db: Connection
) -> None:
    """For each table that is listed: among 4,000 of them it took 10 s, which is all the time that there is."""
    body = value(db, "select prosrc from pg_proc where oid = 'sidecar_internal.roles()'::regprocedure")
    plan = "\n".join(line for (line,) in run(db, f"explain {body}"))
    assert "Seq Scan" not in plan, plan


KEYS = """
[[keys]]
key = "operator-key-0123456789"
scopes = ["admin", "search"]

[[keys]]
key = "tables-key-0123456789"
scopes = ["admin", "search"]
tables = ["public.products"]

[[keys]]
key = "filter-key-0123456789"
scopes = ["admin", "search"]
filter = { tenant = 7 }

[[keys]]
key = "admin-key-0123456789"
scopes = ["admin"]

[[keys]]
key = "search-key-0123456789"
scopes = ["search"]
"""


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("tables", "forbidden_table"),
        ("filter", "forbidden_table"),
        ("admin", "forbidden_scope"),
        ("search", "forbidden_scope"),
    ],
)
async def test_only_a_key_for_all_tables_with_both_scopes_sees_them(
    database_url: str, encoder: HashEncoder, tmp_path: Path, key: str, code: str
) -> None:
    file = tmp_path / "keys"
    file.write_text(KEYS)
    plan = {"table": "products", "source": ["title"]}
    async with searching(database_url, encoder, api_keys_file=file) as client:
        client.headers["Authorization"] = f"Bearer {key}-key-0123456789"
        assert_error(await client.get("/tables"), 403, code, "")
        assert_error(await client.post("/plan", json=plan), 403, code, "")
        client.headers["Authorization"] = "Bearer operator-key-0123456789"
        assert "public.products" in await read(client)
        assert (await client.post("/plan", json=plan)).status_code == 200


async def test_without_a_database_there_are_no_tables(encoder: HashEncoder) -> None:
    async with searching(None, encoder) as client:
        assert_error(await client.get("/tables"), 404, "no_database", "There are no tables")


async def test_a_database_that_is_down_is_a_503_without_the_password() -> None:
    url = "postgresql://nobody:secret-password@127.0.0.1:1/nothing"
    async with searching(url, HashEncoder()) as client:
        refused = await client.get("/tables")
        assert_error(refused, 503, "database_unavailable", "The service does not reach its database")
        assert "secret-password" not in refused.text


async def test_the_services_role_sees_only_what_it_may_read(stage: Stage) -> None:
    with connect(stage.owner) as owner:
        run(owner, "create table shop.items (id int primary key, title text, secret text)")
        run(owner, "create table shop.hidden (id int primary key, title text)")
        run(owner, f'grant usage on schema shop to "{stage.cast.worker}"')
        run(owner, f'grant select (id, title) on shop.items to "{stage.cast.worker}"')
    async with searching(stage.worker, HashEncoder()) as client:
        (items,) = (await read(client)).values()
    assert (items["table"], items["owner"], items["problem"]) == ("shop.items", stage.cast.owner, None)
    assert [column["name"] for column in items["columns"]] == ["id", "title"]
