"""`GET /map`: a sample of a watch as points in the plane."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.encoders import HashEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.search.shop import TITLES, claim_space, connect, make_products, searching
from tests.integration.sql.session import Connection, run, value
from tests.waiting import wait_until_async

TENANT = "tenant-key-0123456789"
KEYS = f"""
[[keys]]
key = "{TENANT}"
scopes = ["search"]
filter = {{ tenant = 7 }}

[[keys]]
key = "bound-key-0123456789"
scopes = ["search"]
tables = ["public.others"]

[[keys]]
key = "admin-key-0123456789"
scopes = ["admin"]
"""


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as connection:
        yield connection


@pytest.fixture
def encoder(db: Connection) -> HashEncoder:
    return make_products(db)


async def read(client: httpx.AsyncClient, key: str = "", **query: Any) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    response = await client.get("/map", params={"table": "products", **query}, headers=headers)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def distances(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = np.linalg.norm(points[:, None] - points[None], axis=2)
    return found


@pytest.mark.parametrize("place", ["in the row", "in a companion"])
async def test_points_are_the_rows_with_a_vector_and_lie_as_their_vectors_do(
    database_url: str, db: Connection, place: str
) -> None:
    exposed = "expose => array['title', 'price', 'tenant']"
    encoder = make_products(db, exposed) if place == "in the row" else make_products_beside(db, exposed)
    run(db, "insert into products values (7, 'no vector yet', 1, 1, 's7')")
    async with searching(database_url, encoder) as client:
        answer = await read(client)
    points = {point["key"]["id"]: point for point in answer["points"]}
    assert sorted(points) == [1, 2, 3, 4, 5, 6]
    assert points[1]["label"] == "red bicycle, 99.90, 7"
    assert points[5]["label"] == "paper lamp, 12"
    first, second = answer["shares"]
    assert 1 > first >= second > 0
    vectors = np.stack([encoder.vector_of(title) for title in TITLES])
    shown = np.array([[points[n]["x"], points[n]["y"]] for n in range(1, 7)])
    np.testing.assert_allclose(shown.sum(axis=0), 0, atol=1e-5)
    assert (distances(shown) <= distances(vectors) + 1e-5).all()


def make_products_beside(db: Connection, arguments: str) -> HashEncoder:
    """The same products, with their vectors in a companion."""
    encoder = make_products(db, arguments)
    run(db, "create table copies as select id, e from products; select sidecar.unwatch('products')")
    run(db, "alter table products drop column e")
    call = "select sidecar.watch('products', 'title', target => 'e', dimensions => 16, companion => 'vectors', "
    run(db, f"{call}{arguments})")
    run(db, "set sidecar.writer = 'on'; insert into vectors (id, e) select id, e from copies")
    claim_space(db, encoder)
    return encoder


async def test_a_sample_has_no_more_rows_than_asked_for(
    database_url: str, encoder: HashEncoder, db: Connection
) -> None:
    run(db, "set sidecar.writer = 'on'")
    run(
        db,
        "insert into products select n, 'copy', 1, 7, 's', (select e from products where id = 1) "
        "from generate_series(100, 999) n",
    )
    run(db, "analyze products")
    async with searching(database_url, encoder) as client:
        answer = await read(client, rows=50)
        assert len(answer["points"]) == 50
        assert len({point["key"]["id"] for point in answer["points"]}) == 50
        assert len((await read(client, rows=2000))["points"]) == 906
        wrong = await client.get("/map", params={"table": "products", "rows": 2001})
        assert_error(wrong, 422, "out_of_range", "`rows` must be from 1 to 2000", "rows")


@pytest.mark.parametrize("place", ["in the row", "in a companion"])
def test_a_small_sample_of_a_large_table_reads_few_of_its_pages(db: Connection, place: str) -> None:
    """And its rows come from many of those that it reads."""
    run(db, "create table many (id int primary key, title text, e vector(64))")  # 17 MB: smaller tables are counted
    vector = "array_fill(0.25::real, array[64])"
    run(db, f"insert into many select n, 'row ' || n, {vector} from generate_series(1, 60000) n")
    companion = "companion => 'vectors', " if place == "in a companion" else ""
    run(db, f"select sidecar.watch('many', 'title', target => 'e', {companion}dimensions => 64, index => 'none')")
    if companion:
        run(db, "set sidecar.writer = 'on'; insert into vectors (id, e) select id, e from many")
    table = "vectors" if companion else "many"
    run(db, "vacuum analyze many")
    run(db, f"vacuum analyze {table}")
    call = "sidecar_internal.sample_rows('many', 'e', 6)"
    plan = value(db, f"explain (analyze, buffers, format json) select * from {call}")[0]["Plan"]
    pages = value(db, f"select relpages from pg_class where oid = '{table}'::regclass")
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < pages / 2
    drawn = [place for _ in range(5) for (place,) in run(db, f"select (key->>'id')::int / 1000 from {call}")]
    assert len(drawn) == 30
    assert len(set(drawn)) > 15


def test_rows_with_a_vector_are_found_where_few_have_one(db: Connection) -> None:
    """While a large table is being embedded, say."""
    run(db, "create table many (id int primary key, title text, e vector(16))")
    run(db, "select sidecar.watch('many', 'title', target => 'e', dimensions => 16, index => 'none')")
    run(db, "set sidecar.writer = 'on'")
    vector = "case when n <= 40 then array_fill(0.25::real, array[16]) end"
    run(db, f"insert into many select n, 'row', {vector} from generate_series(1, 4000) n")
    assert len(run(db, "select key from sidecar_internal.sample_rows('many', 'e', 6)")) == 6


async def test_a_key_sees_its_own_rows_only(database_url: str, encoder: HashEncoder, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(KEYS)
    async with searching(database_url, encoder, api_keys_file=file) as client:
        answer = await read(client, TENANT)
        assert sorted(point["key"]["id"] for point in answer["points"]) == [1, 2, 6]
        for key, code in (("bound", "forbidden_table"), ("admin", "forbidden_scope")):
            headers = {"Authorization": f"Bearer {key}-key-0123456789"}
            refused = await client.get("/map", params={"table": "products"}, headers=headers)
            assert_error(refused, 403, code, "")


async def test_pictures_and_columns_that_are_not_exposed_are_in_no_label(database_url: str, db: Connection) -> None:
    run(db, "create table files (id int primary key, title text, content bytea, secret text)")
    run(db, "select sidecar.watch('files', 'content', target => 'e', dimensions => 16, expose => array['content'])")
    run(db, "set sidecar.writer = 'on'")
    run(db, "insert into files values (1, 'a', 'b', 'c', array_fill(0.25::real, array[16])::vector)")
    async with searching(database_url, HashEncoder()) as client:
        answer = await read(client, table="files")
    assert answer == {"points": [{"key": {"id": 1}, "label": None, "x": 0.0, "y": 0.0}], "shares": [0.0, 0.0]}


async def test_keys_have_all_the_digits_of_their_numbers(database_url: str, db: Connection) -> None:
    run(db, "create table amounts (id numeric primary key, title text)")
    run(db, "select sidecar.watch('amounts', 'title', target => 'e', dimensions => 16)")
    run(db, "set sidecar.writer = 'on'")
    for key in ("12345678901234567890123", "0.1234567890123456789"):
        run(db, "insert into amounts values (%s, '', array_fill(0.25::real, array[16])::vector)", key)
    async with searching(database_url, HashEncoder()) as client:
        answer = (await client.get("/map", params={"table": "amounts"})).text
    assert '{"id":12345678901234567890123}' in re.sub(r"\s", "", answer)
    assert '{"id":0.1234567890123456789}' in re.sub(r"\s", "", answer)


async def test_one_sample_is_read_at_a_time(database_url: str, encoder: HashEncoder, db: Connection) -> None:
    """Those that wait hold no rows."""
    reading = """
        select count(*) from pg_stat_activity
        where query like '%sidecar_internal.sample_rows%' and wait_event_type = 'Lock'
    """

    async def is_reading() -> bool:
        return bool(await asyncio.to_thread(value, db, reading) > 0)

    async with searching(database_url, encoder) as client:
        await asyncio.gather(*(read(client) for _ in range(8)))  # opens the pool's connections
        with connect(database_url) as blocker, blocker.transaction():
            blocker.execute("lock table products")
            asked = [asyncio.create_task(client.get("/map?table=products")) for _ in range(5)]
            await wait_until_async(is_reading, "a sample that waits for the table")
            seen = []
            for _ in range(20):
                assert (await client.get("/watches")).status_code == 200
                seen.append(await asyncio.to_thread(value, db, reading))
            assert max(seen) == 1
        await asyncio.gather(*asked)


async def test_without_vectors_without_a_watch_and_without_a_database(
    database_url: str, db: Connection, serving: Serving
) -> None:
    run(db, "create table notes (id int primary key, body text)")
    run(db, "select sidecar.watch('notes', 'body', target => 'e', dimensions => 16)")
    async with searching(database_url, HashEncoder()) as client:
        assert await read(client, table="notes") == {"points": [], "shares": [0.0, 0.0]}
        assert_error(await client.get("/map?table=nothing"), 404, "unknown_watch", "No table 'nothing' is", "table")
    async with serving() as client:
        assert_error(await client.get("/map?table=notes"), 404, "no_database", "There are no vectors")
