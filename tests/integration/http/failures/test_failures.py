"""`GET /failures` and `POST /retry`: what failed, why, and trying it again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.http.pictures import picture
from tests.integration.http.thumbnails.photos import make_photos
from tests.integration.search.shop import DIMENSIONS, connect, make_encoder, searching
from tests.integration.sql.queue import fail
from tests.integration.sql.session import Connection, run, value
from tests.waiting import wait_until_async

BOUND, TENANT, SEARCH, ADMIN = (f"{name}-key-0123456789" for name in ("bound", "tenant", "search", "admin"))
KEYS = f"""
[[keys]]
key = "{BOUND}"
scopes = ["search", "admin"]
tables = [{{ table = "public.items", target = "e" }}]

[[keys]]
key = "{TENANT}"
scopes = ["search", "admin"]
filter = {{ id = 1 }}

[[keys]]
key = "{SEARCH}"
scopes = ["search", "embed"]

[[keys]]
key = "{ADMIN}"
scopes = ["admin"]
"""


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as connection:
        yield connection


@pytest.fixture
def watches(db: Connection) -> list[int]:
    """Watches e and f of items, and e of others, with 5, 1 and 1 failures."""
    run(
        db,
        "create table items (id bigint primary key, title text); create table others (id bigint primary key, b text)",
    )
    run(db, "insert into items select i, '<img src=x onerror=alert(1)>' from generate_series(1, 5) i")
    run(db, "insert into others values (1, 'b')")
    calls = [("items", "title", "e"), ("items", "title", "f"), ("others", "b", "e")]
    watch = "select sidecar.watch(%s, source => %s::text, target => %s, dimensions => %s)"
    ids = [int(value(db, watch, *call, DIMENSIONS)) for call in calls]
    for key in range(1, 6):
        fail(db, ids[0], key, "no_vector" if key == 5 else "not_a_picture", f"<script>{key}</script>")
    fail(db, ids[1], 1, "decode_timeout")
    fail(db, ids[2], 1, "decode_timeout")
    at = "'2026-01-01 00:00:00+00'::timestamptz + watch_id * interval '1 s'"
    run(db, f"update sidecar_internal.failures set failed_at = {at}")
    return ids


@pytest.fixture
async def client(database_url: str, watches: list[int], tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    file = tmp_path / "keys"
    file.write_text(KEYS)
    async with searching(database_url, make_encoder(), api_keys_file=file) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def read(client: httpx.AsyncClient, key: str = ADMIN, **query: Any) -> dict[str, Any]:
    response = await client.get("/failures", params=query, headers=bearer(key))
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def retry(client: httpx.AsyncClient, key: str = ADMIN, **body: Any) -> httpx.Response:
    return await client.post("/retry", json=body, headers=bearer(key))


def retried(db: Connection, watch_id: int) -> list[int]:
    """The keys of the rows that were enqueued again."""
    return [key for (key,) in run(db, f"select k1 from sidecar_internal.events_{watch_id} where force order by k1")]


async def test_failures_are_listed_newest_first_with_their_reasons_and_what_to_do(client: httpx.AsyncClient) -> None:
    answer = await read(client)
    assert [(each["reason"], each["rows"], each["retry_helps"]) for each in answer["reasons"]] == [
        ("not_a_picture", 4, False),
        ("decode_timeout", 2, True),
        ("no_vector", 1, True),
    ]
    assert answer["reasons"][1]["advice"].startswith("Raise DECODE_TIMEOUT_S")
    assert answer["next"] is None
    assert answer["failures"][0] == {
        "table": "public.others",
        "target": "e",
        "key": {"id": 1},
        "reason": "decode_timeout",
        "message": "not an image",
        "at": "2026-01-01T00:00:03+00:00",
        "attempts": 1,
    }
    assert [row["key"]["id"] for row in answer["failures"][:2]] == [1, 1]
    messages = {row["key"]["id"]: row["message"] for row in answer["failures"][2:]}
    assert messages == {key: f"<script>{key}</script>" for key in range(1, 6)}
    some = await read(client, table="items", target="e", reason="no_vector")
    assert [row["key"] for row in some["failures"]] == [{"id": 5}]
    assert [each["reason"] for each in some["reasons"]] == ["not_a_picture", "no_vector"]
    assert (await read(client, reason="nothing"))["failures"] == []


async def test_pages_have_each_failure_once(client: httpx.AsyncClient) -> None:
    seen, after = list[tuple[str, int]](), dict[str, str]()
    for _ in range(10):
        page = await read(client, table="items", limit=2, **after)
        seen += [(row["target"], row["key"]["id"]) for row in page["failures"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen[0] == ("f", 1)
    assert sorted(seen[1:]) == [("e", 1), ("e", 2), ("e", 3), ("e", 4), ("e", 5)]


async def test_a_retry_of_keys_of_a_reason_or_of_all(
    client: httpx.AsyncClient, db: Connection, watches: list[int]
) -> None:
    items_e, items_f, others = watches
    run(db, f"delete from sidecar_internal.events_{items_e}; delete from sidecar_internal.events_{items_f}")
    assert (await retry(client, table="items", target="e", keys=[2, {"id": 3}, 99])).json() == {"rows": 2}
    assert retried(db, items_e) == [2, 3]
    run(db, f"delete from sidecar_internal.events_{items_e}")
    assert (await retry(client, table="items", target="e", keys=[3, "3", {"id": 2}, 2, {"id": "2"}])).json() == {
        "rows": 2
    }
    assert retried(db, items_e) == [2, 3]
    assert (await retry(client, table="items", reason="decode_timeout")).json() == {"rows": 1}
    assert (retried(db, items_e), retried(db, items_f)) == ([2, 3], [1])
    assert (await retry(client, table="items", keys=[1], reason="no_vector")).json() == {"rows": 0}
    assert (await retry(client, table="public.others")).json() == {"rows": 1}
    assert retried(db, others) == [1]


async def test_a_row_that_changes_disappears_by_itself(database_url: str, db: Connection) -> None:
    encoder = make_photos(db)
    async with searching(database_url, encoder, ingest=True) as client:

        async def failed() -> list[dict[str, Any]]:
            found = (await client.get("/failures")).json()["failures"]
            return [row["key"] for row in found]

        async def has_failed() -> bool:
            return await failed() == [{"id": 3}]

        async def is_gone() -> bool:
            return await failed() == []

        await wait_until_async(has_failed, "a failure")
        db.execute("update photos set photo = %s where id = 3", (picture(),))
        await wait_until_async(is_gone, "the failure to disappear")


HOSTILE_QUERIES = [
    ({"limit": "0"}, "out_of_range", "limit"),
    ({"limit": "501"}, "out_of_range", "limit"),
    ({"limit": "x"}, "wrong_type", "limit"),
    ({"target": "e"}, "missing_field", "table"),
    ({"after": "AAAA"}, "wrong_cursor", "after"),
    ({"after": "é"}, "wrong_cursor", "after"),
    ({"after": "WyIyMDI2LTAxLTAxIiwxLCJ7fSJd"}, "wrong_cursor", "after"),  # a time without its zone
    ({"after": "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgMSwgIlx1MDAwMCJd"}, "wrong_cursor", "after"),
    ({"after": "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzE0OjAwIiwxLCJ4Il0"}, "wrong_cursor", "after"),  # before the year 1 in UTC
    ({"after": "WyI5OTk5LTEyLTMxVDIzOjU5OjU5LTE0OjAwIiwxLCJ4Il0"}, "wrong_cursor", "after"),  # after the year 9999
    ({"after": "x" * 20_000}, "too_long", "after"),
    ({"reason": "r" * 101}, "too_long", "reason"),
    ({"reason": "a\0"}, "wrong_value", "reason"),
    ({"tabel": "items"}, "unknown_field", "tabel"),
]
HOSTILE_BODIES = [
    ({}, "missing_field", "table"),
    ({"table": "items", "keys": []}, "too_short", "keys"),
    ({"table": "items", "keys": list(range(1001))}, "too_long", "keys"),
    ({"table": "items", "keys": [[1]]}, "wrong_type", "keys[0]"),
    ({"table": "items", "keys": [1, {"id": 1, "x": 2}]}, "wrong_key", "keys[1]"),
    ({"table": "items", "keys": [1, "1; drop table items"]}, "wrong_key", "keys"),
    ({"table": "items", "keys": ["a\0"]}, "wrong_key", "keys[0]"),
    ({"table": "items", "keys": ["x" * 100_000]}, "wrong_key", "keys[0]"),
    ({"table": "items", "keys": [10**30]}, "wrong_key", "keys[0]"),
    ({"table": "items", "reason": "a\0"}, "wrong_value", "reason"),
    ({"table": "t" * 1_000_000}, "too_long", "table"),
    ({"table": "items", "all": True}, "unknown_field", "all"),
]


async def test_hostile_values_are_refused_with_the_field_that_is_wrong(
    client: httpx.AsyncClient, db: Connection, watches: list[int]
) -> None:
    for query, code, param in HOSTILE_QUERIES:
        response = await client.get("/failures", params=query, headers=bearer(ADMIN))
        assert response.status_code == 422, (query, response.text)
        assert (response.json()["error"]["code"], response.json()["error"]["param"]) == (code, param), query
    for body, code, param in HOSTILE_BODIES:
        response = await client.post("/retry", json=body, headers=bearer(ADMIN))
        assert response.status_code == 422, (str(body)[:100], response.text)
        assert (response.json()["error"]["code"], response.json()["error"]["param"]) == (code, param), str(body)[:100]
    for table in ("nope", "items\0", "items; drop table items", ""):
        unknown = await retry(client, table=table)
        assert_error(unknown, 404, "unknown_watch", f"No table {table!r} is watched.", "table")
    assert retried(db, watches[0]) == []


async def test_a_bound_key_reaches_its_watches_only_and_one_of_some_rows_none(
    client: httpx.AsyncClient, db: Connection, watches: list[int]
) -> None:
    items_e, items_f, others = watches
    mine = await read(client, BOUND)
    assert {(row["table"], row["target"]) for row in mine["failures"]} == {("public.items", "e")}
    assert sum(each["rows"] for each in mine["reasons"]) == 5
    assert len((await read(client, BOUND, table="items"))["failures"]) == 5
    theirs = (await read(client, ADMIN, limit=1))["next"]
    assert {row["target"] for row in (await read(client, BOUND, after=theirs))["failures"]} == {"e"}
    for query in ({"table": "others"}, {"table": "items", "target": "f"}, {"table": "nope"}):
        response = await client.get("/failures", params=query, headers=bearer(BOUND))
        assert response.status_code in {403, 404}, query
        assert "others" not in response.text
        refused = await retry(client, BOUND, **query)
        assert refused.status_code in {403, 404}
    assert (await retry(client, BOUND, table="items")).json() == {"rows": 5}
    assert retried(db, items_e) == [1, 2, 3, 4, 5]
    assert (retried(db, items_f), retried(db, others)) == ([], [])
    for refused in (await client.get("/failures", headers=bearer(TENANT)), await retry(client, TENANT, table="items")):
        assert_error(refused, 403, "forbidden_rows", "The key's filter opens some rows only")
    for denied in (await client.get("/failures", headers=bearer(SEARCH)), await retry(client, SEARCH, table="items")):
        assert_error(denied, 403, "forbidden_scope", "The key lacks the scope `admin`")


async def test_without_a_database_and_while_it_is_away(serving: Serving) -> None:
    nowhere = SecretStr("postgresql://nobody:x@127.0.0.1:1/nothing")
    async with serving() as client:
        assert_error(await client.get("/failures"), 404, "no_database", "No row can fail")
        assert_error(await client.post("/retry", json={"table": "a"}), 404, "no_database", "No row can fail")
    async with serving(database_url=nowhere, ingest=False) as client:
        for response in (await client.get("/failures"), await client.post("/retry", json={"table": "a"})):
            assert_error(response, 503, "database_unavailable", "The service does not reach its database.")
