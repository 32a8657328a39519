"""`GET /events` of a real server: what it sends, to whom, and when it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from sidecar.http.events.feed import MAX_LISTENERS, MAX_WAITING_EVENTS, Listener
from tests.encoders import HashEncoder
from tests.integration.http.errors import assert_error
from tests.integration.http.events.stream import listening
from tests.integration.http.live_server import live_server
from tests.integration.search.shop import connect, make_products
from tests.integration.server.process import sidecar_process
from tests.integration.sql.session import Connection, run
from tests.waiting import wait_until_async

ADMIN, SEARCH = "admin-key-0123456789", "search-key-0123456789"


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as connection:
        yield connection


async def has_room(url: str) -> bool:
    async with listening(url) as stream:
        return stream.response.status_code == 200


async def test_history_status_and_samples_arrive_and_samples_count_what_happens(
    database_url: str, db: Connection
) -> None:
    encoder = make_products(db)
    async with live_server(encoder, database_url=SecretStr(database_url), ingest=False) as port:
        url = f"http://127.0.0.1:{port}"
        async with listening(url) as stream, httpx.AsyncClient(base_url=url) as client:
            assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert stream.response.headers["cache-control"] == "no-store"
            name, history = await stream.next()
            assert (name, history["interval_s"]) == ("history", 5)
            name, status = await stream.next()
            assert (name, status["database"], status["database_detail"]) == ("status", "ok", None)
            assert set(status) == set((await client.get("/status")).json())
            (await client.post("/search", json={"table": "products", "text": "mug"})).raise_for_status()
            sample = await stream.next_of("sample", lambda data: data["queries"]["per_s"] > 0)
            assert 0 < sample["queries"]["p50_s"] == sample["queries"]["p95_s"] < 30
            assert sample["lanes"]["query"]["device_share"] > 0
            assert set(sample["lanes"]) == set(status["lanes"]) == {"query", "rerank", "ingest", "backfill"}
            (watch,) = sample["watches"].items()
            assert watch[0] == f"{status['watches'][0]['relation']}.{status['watches'][0]['target']}"
            assert watch[1] == {
                "pending": 6,
                "failed": 0,
                "rows_per_s": 0,
                "lag_p50_s": None,
                "lag_p95_s": None,
            }
            run(db, "select sidecar.pause()")
            changed = await stream.next_of("status")
            assert changed["watches"][0]["state"] == "paused"
        async with listening(url) as later:
            _, history = await later.next()
            found = [sample for sample in history["samples"] if sample["queries"]["per_s"]]
            assert len(found) <= 1
            assert all(sample["watches"]["public.products.e"]["pending"] == 6 for sample in found)


async def test_without_a_database_and_while_it_is_away_the_rest_is_sent() -> None:
    nowhere = SecretStr("postgresql://nobody:hunter2@127.0.0.1:1/nothing")
    async with live_server(HashEncoder()) as port, listening(f"http://127.0.0.1:{port}") as stream:
        assert (await stream.next_of("status"))["database"] == "none"
        assert (await stream.next_of("sample"))["watches"] == {}
    async with (
        live_server(HashEncoder(), database_url=nowhere, ingest=False) as port,
        listening(f"http://127.0.0.1:{port}") as stream,
    ):
        status = await stream.next_of("status", lambda data: data["database_detail"] is not None)
        assert (status["database"], status["watches"]) == ("unavailable", None)
        assert "hunter2" not in status["database_detail"]
        assert (await stream.next_of("sample"))["watches"] == {}


async def test_one_listener_too_many_is_refused_until_another_one_goes() -> None:
    async with live_server(HashEncoder()) as port:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url) as client, AsyncExitStack() as streams:
            opened = [await streams.enter_async_context(listening(url)) for _ in range(MAX_LISTENERS - 1)]
            async with listening(url) as last:
                for stream in (*opened, last):
                    assert (await stream.next())[0] == "history"
                refused = await client.get("/events")
                assert_error(refused, 503, "too_many_listeners", "32 clients follow /events")
                assert refused.headers["retry-after"] == "10"
                assert (await client.head("/events")).status_code == 200
            await wait_until_async(lambda: has_room(url), "the place of the one that has gone")
            assert (await opened[0].next_of("sample"))["at"] > 0


async def test_operators_only_and_a_key_that_is_withdrawn_ends_its_streams(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"admin:{ADMIN}\nsearch:{SEARCH}\n")
    async with live_server(HashEncoder(), api_keys_file=file) as port:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url) as client:
            assert_error(await client.get("/events"), 401, "missing_key", "Send a key")
            denied = await client.get("/events", headers={"Authorization": f"Bearer {SEARCH}"})
            assert_error(denied, 403, "forbidden_scope", "The key lacks the scope `admin`")
        async with listening(url, ADMIN) as stream:
            await stream.next_of("sample")
            file.write_text(f"search:{SEARCH}\n")
            await stream.read_to_end()


async def test_clients_that_send_a_body_and_go_keep_no_place() -> None:
    async with live_server(HashEncoder(), max_body_bytes=20_000) as port:
        url = f"http://127.0.0.1:{port}"
        for _ in range(MAX_LISTENERS):
            async with (
                httpx.AsyncClient() as client,
                client.stream("GET", f"{url}/events", content=b"x" * 100_000) as response,
            ):
                assert response.status_code == 200
        await wait_until_async(lambda: has_room(url), "their places")


async def test_a_stop_ends_the_streams_at_once(tmp_path: Path) -> None:
    program = ["-m", "tests.integration.server.program", "hash"]
    with sidecar_process(tmp_path, program) as process:
        process.await_ready()
        async with listening(process.url) as stream:
            await stream.next_of("sample")
            process.stop()
            await stream.read_to_end()
        assert process.exit_code(4) == 0
    assert "cut off" not in process.log
    assert not re.search(r"ERROR|WARNING|Traceback", process.log)


async def test_a_listener_that_does_not_read_loses_the_oldest_events_only() -> None:
    listener = Listener()
    for number in range(MAX_WAITING_EVENTS + 10):
        listener.put(b"%d" % number)
    listener.put(None)
    received = [await listener.next() for _ in range(MAX_WAITING_EVENTS)]
    assert received == [b"%d" % number for number in range(11, MAX_WAITING_EVENTS + 10)] + [None]
