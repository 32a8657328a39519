"""`POST /pause`, `/resume` and `/rate`: which watches they change, and for whom."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.search.shop import DIMENSIONS, connect, make_encoder, searching
from tests.integration.sql.session import Connection, run

BOUND, TENANT, SEARCH, ADMIN = (f"{name}-key-0123456789" for name in ("bound", "tenant", "search", "admin"))
KEYS = f"""
[[keys]]
key = "{BOUND}"
scopes = ["search", "admin"]
tables = ["public.items"]

[[keys]]
key = "{TENANT}"
scopes = ["search", "admin"]
tables = [{{ table = "public.items", filter = {{ id = 1 }} }}]

[[keys]]
key = "{SEARCH}"
scopes = ["search"]

[[keys]]
key = "{ADMIN}"
scopes = ["admin"]
"""
ALL = {"items.e", "items.f", "others.e"}


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as connection:
        run(
            connection,
            "create table items (id int primary key, a text); create table others (id int primary key, a text)",
        )
        for table, target in (("items", "e"), ("items", "f"), ("others", "e")):
            call = "select sidecar.watch(%s, 'a', target => %s, dimensions => %s)"
            connection.execute(call, (table, target, DIMENSIONS))
        yield connection


@pytest.fixture
async def client(database_url: str, db: Connection, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    file = tmp_path / "keys"
    file.write_text(KEYS)
    async with searching(database_url, make_encoder(), api_keys_file=file) as client:
        yield client


async def post(client: httpx.AsyncClient, path: str, key: str = ADMIN, **body: Any) -> httpx.Response:
    return await client.post(path, json=body, headers={"Authorization": f"Bearer {key}"})


def paused(db: Connection) -> set[str]:
    rows = run(db, "select relation::text || '.' || target from sidecar_internal.watches where paused")
    return {name for (name,) in rows}


def rates(db: Connection) -> dict[str, float]:
    name = "relation::text || '.' || target"
    rows = run(db, f"select {name}, rows_per_s from sidecar_internal.watches where rows_per_s > 0")
    return dict(rows)


async def test_one_watch_a_table_or_all_are_paused_and_resumed(client: httpx.AsyncClient, db: Connection) -> None:
    assert (await post(client, "/pause", table="items", target="f")).json() == {"watches": 1}
    assert paused(db) == {"items.f"}
    assert (await post(client, "/pause", table="public.items")).json() == {"watches": 1}
    assert paused(db) == {"items.e", "items.f"}
    assert (await post(client, "/pause")).json() == {"watches": 1}
    assert paused(db) == ALL
    assert (await post(client, "/resume", table="others")).json() == {"watches": 1}
    assert (await post(client, "/resume")).json() == {"watches": 2}
    assert paused(db) == set()


async def test_a_rate_is_set_and_lifted_and_has_to_be_said(client: httpx.AsyncClient, db: Connection) -> None:
    assert (await post(client, "/rate", table="items", rows_per_s=0.5)).json() == {"watches": 2}
    assert rates(db) == {"items.e": 0.5, "items.f": 0.5}
    assert (await post(client, "/rate", rows_per_s=50)).json() == {"watches": 3}
    assert (await post(client, "/rate", table="items", target="e", rows_per_s=None)).json() == {"watches": 1}
    assert rates(db) == {"items.f": 50, "others.e": 50}
    for body, code in (
        ({"table": "items"}, "missing_field"),
        ({"rows_per_s": 0}, "out_of_range"),
        ({"rows_per_s": -1}, "out_of_range"),
        ({"rows_per_s": "5"}, "wrong_type"),
        ({"rows_per_s": True}, "wrong_type"),
    ):
        refused = await post(client, "/rate", **body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, code), body
    overflow = await client.post(
        "/rate",
        content='{"rows_per_s": 1e999}',
        headers={"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"},
    )
    assert overflow.status_code in {400, 422}
    assert rates(db) == {"items.f": 50, "others.e": 50}


async def test_hostile_names_change_nothing(client: httpx.AsyncClient, db: Connection) -> None:
    bodies: dict[str, dict[str, Any]] = {"/pause": {}, "/resume": {}, "/rate": {"rows_per_s": 5}}
    for path, extra in bodies.items():
        for table in ("nope", "items\0", "items; drop table items", "", '"items'):
            refused = await post(client, path, table=table, **extra)
            assert_error(refused, 404, "unknown_watch", f"No table {table!r} is watched.", "table")
        unknown = await post(client, path, table="items", target="e\0", **extra)
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_watch")
        assert_error(
            await post(client, path, target="e", **extra), 422, "missing_field", "`target` is of a table", "table"
        )
        long = await post(client, path, table="t" * 1_000_000, **extra)
        assert (long.status_code, long.json()["error"]["code"]) == (422, "too_long")
        misspelt = await post(client, path, tabel="items", **extra)
        assert (misspelt.status_code, misspelt.json()["error"]["code"]) == (422, "unknown_field")
    assert (paused(db), rates(db)) == (set(), {})


async def test_a_bound_key_changes_its_tables_only_and_one_of_some_rows_none(
    client: httpx.AsyncClient, db: Connection
) -> None:
    assert (await post(client, "/pause", BOUND)).json() == {"watches": 2}
    assert paused(db) == {"items.e", "items.f"}
    assert (await post(client, "/rate", BOUND, rows_per_s=7)).json() == {"watches": 2}
    for table in ("others", "nope"):
        assert_error(await post(client, "/pause", BOUND, table=table), 403, "forbidden_table", "The key opens no table")
    assert set(rates(db)) == paused(db) == {"items.e", "items.f"}
    assert_error(await post(client, "/resume", TENANT), 403, "forbidden_rows", "The key's filter opens some rows only")
    assert_error(await post(client, "/pause", SEARCH), 403, "forbidden_scope", "The key lacks the scope `admin`")
    assert paused(db) == {"items.e", "items.f"}


async def test_without_a_database_and_while_it_is_away(serving: Serving) -> None:
    nowhere = SecretStr("postgresql://nobody:x@127.0.0.1:1/nothing")
    async with serving() as client:
        assert_error(await client.post("/pause", json={}), 404, "no_database", "There are no watches")
    async with serving(database_url=nowhere, ingest=False) as client:
        refused = await client.post("/rate", json={"rows_per_s": None})
        assert_error(refused, 503, "database_unavailable", "The service does not reach its database.")
