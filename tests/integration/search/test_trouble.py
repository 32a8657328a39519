"""Searches while the database is away, locked or changing, and of clients that disconnect."""

from __future__ import annotations

import asyncio

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from tests.encoders import HashEncoder
from tests.integration.http.errors import assert_error
from tests.integration.http.live_server import live_server
from tests.integration.search.shop import DIMENSIONS, TITLES, claim_space, connect, keys, search, searching
from tests.integration.sql.session import Connection, run, value
from tests.ports import find_free_port
from tests.waiting import wait_until_async

BODY = {"table": "products", "text": "green mug"}
WAITING = """
    select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query like '%search_page%'
"""


async def until_waiting(db: Connection, count: int) -> None:
    async def as_many() -> bool:
        return bool(value(db, WAITING) == count)

    await wait_until_async(as_many, f"{count} searches to wait for a lock")


async def test_a_database_that_is_down_is_a_503_with_retry_after() -> None:
    port = find_free_port()
    url = f"postgresql://nobody:secret-password@127.0.0.1:{port}/nothing"
    async with searching(url, HashEncoder(dimensions=DIMENSIONS)) as client:
        response = await client.post("/search", json=BODY)
    assert response.status_code == 503, response.text
    assert response.json()["error"]["code"] == "database_unavailable"
    assert response.headers["retry-after"] == "1"
    assert "secret-password" not in response.text


async def test_a_database_without_our_schema_is_a_503(plain_database_url: str) -> None:
    async with searching(plain_database_url, HashEncoder(dimensions=DIMENSIONS)) as client:
        response = await client.post("/search", json=BODY)
    assert response.status_code == 503, response.text


async def test_a_search_waits_for_a_lock_and_then_answers(
    db: Connection, database_url: str, client: httpx.AsyncClient
) -> None:
    with connect(database_url) as other:
        run(other, "begin; lock table products in access exclusive mode")
        searching_now = asyncio.create_task(search(client, text="green mug", k=1))
        await until_waiting(db, 1)
        run(other, "commit")
        assert keys(await searching_now) == [2]


async def test_a_table_that_stays_locked_is_a_503_with_retry_after(
    database_url: str, client: httpx.AsyncClient
) -> None:
    """Connections are few, and other tables are searched as well."""
    with connect(database_url) as other:
        run(other, "begin; lock table products in access exclusive mode")
        response = await client.post("/search", json=BODY)
        run(other, "rollback")
    assert_error(response, 503, "database_unavailable", "public.products could not be searched in time: canceling")
    assert response.headers["retry-after"] == "1"


async def test_the_deadline_cancels_the_search_on_the_server_too(
    db: Connection, database_url: str, encoder: HashEncoder
) -> None:
    async with searching(database_url, encoder, request_timeout_s=3) as client:
        with connect(database_url) as other:
            run(other, "begin; lock table products in access exclusive mode")
            response = await client.post("/search", json=BODY)
            assert response.status_code in {503, 504}, response.text
            await until_waiting(db, 0)
            run(other, "rollback")
        assert keys(await search(client, text="green mug", k=1)) == [2]


async def test_a_disconnect_cancels_the_search_on_the_server(
    db: Connection, database_url: str, encoder: HashEncoder
) -> None:
    url = SecretStr(database_url)
    async with live_server(encoder, database_url=url, ingest=False, request_timeout_s=60) as port:
        with connect(database_url) as other:
            run(other, "begin; lock table products in access exclusive mode")
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                asking = asyncio.create_task(client.post("/search", json=BODY))
                await until_waiting(db, 1)
                asking.cancel()
                await asyncio.wait([asking])
            await until_waiting(db, 0)
            run(other, "rollback")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert keys((await client.post("/search", json=BODY)).json())[0] == 2


async def test_concurrent_searches_get_their_own_answers(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(search(client, text=TITLES[n % 6], k=1, filter={"id": n % 6 + 1}) for n in range(40))
    )
    for n, answer in enumerate(answers):
        assert keys(answer) == [n % 6 + 1]
        assert answer["results"][0]["distance"] == pytest.approx(0, abs=1e-6)


async def test_a_dropped_companion_is_reported(db: Connection, database_url: str, encoder: HashEncoder) -> None:
    run(db, f"select sidecar.watch('products', 'title', 'v', companion => 'vectors', dimensions => {DIMENSIONS})")
    claim_space(db, encoder)
    run(db, "drop table vectors cascade")
    async with searching(database_url, encoder) as client:
        response = await client.post("/search", json={**BODY, "target": "v"})
        assert_error(response, 503, "watch_changed", "public.products.v is not what it was")
        run(db, "alter table products drop column e cascade")
        response = await client.post("/search", json={**BODY, "target": "e"})
        assert_error(response, 503, "watch_changed", "public.products.e is not what it was")


async def test_a_search_writes_nothing(db: Connection, database_url: str, encoder: HashEncoder) -> None:
    async with searching(database_url, encoder, sql_queries=False) as client:
        before = value(db, "select txid_snapshot_xmax(txid_current_snapshot())")
        for _ in range(3):
            await search(client, text="green mug")
        assert value(db, "select txid_snapshot_xmax(txid_current_snapshot())") == before


async def test_time_in_the_database_is_measured(client: httpx.AsyncClient) -> None:
    await search(client, text="green mug")
    metrics = (await client.get("/metrics")).text
    (line,) = [
        line
        for line in metrics.splitlines()
        if line.startswith("sidecar_stage_duration_seconds_count{")
        and 'stage="database"' in line
        and 'lane="query"' in line
    ]
    assert float(line.rpartition(" ")[2]) == 1


def test_a_session_can_search_after_its_first_search_failed(
    db: Connection, database_url: str, encoder: HashEncoder
) -> None:
    """A setting made before pgvector's library was loaded, and rolled back, is neither a value nor NULL."""
    vector = "array_fill(1::real, array[16])"
    for function in (
        f"sidecar.search_exposed('products', {vector})",
        f"sidecar.search('products', {vector}::vector::text)",
        f"sidecar.hybrid_search('products', {vector}::vector, 'mug')",
        f"sidecar.search_targets('products', {vector}::vector::text, array['e'])",
    ):
        run(db, "begin; lock table products in access exclusive mode")
        with connect(database_url) as other:
            run(other, "set lock_timeout = '10ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                run(other, f"select * from {function}")
            run(db, "rollback")
            assert len(run(other, f"select * from {function}")) == 6
