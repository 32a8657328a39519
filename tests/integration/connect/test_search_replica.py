"""SEARCH_DATABASE_URL: searches and status read a standby while it keeps up, and the primary otherwise."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from sidecar.concurrency import background
from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.operations.migrations import migrate
from sidecar.postgres.database import Database
from sidecar.postgres.reads import Reads
from tests.encoders import HashEncoder
from tests.integration.connect.standby import Pair, execute, primary_and_standby
from tests.integration.search.shop import connect, keys, make_encoder, make_products, search, searching, vector_literal
from tests.servers import open_directory
from tests.waiting import wait_until, wait_until_async

PATIENCE_S = 30.0


@asynccontextmanager
async def searching_on(pair: Pair, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    url = SecretStr(pair.standby.url)
    async with searching(pair.primary.url, make_encoder(), search_database_url=url, **changes) as client:
        yield client


@pytest.fixture(scope="module")
def pair(postgres_version: str) -> Iterator[Pair]:
    """A primary with the table `products`, and a standby that has it, too."""
    with open_directory() as directory, primary_and_standby(directory, postgres_version) as pair:
        migrate(pair.primary.url)
        with connect(pair.primary.url) as db:
            make_products(db)
        execute(pair.standby.url, "alter system set max_standby_streaming_delay = 0", "select pg_reload_conf()")
        wait_until(lambda: _has_vectors(pair.standby.url), "the standby to catch up", PATIENCE_S)
        yield pair


def _has_vectors(url: str) -> bool:
    try:
        with psycopg.connect(url) as db:
            return db.execute(
                "select count(*) from sidecar_internal.watches where fingerprint is not null"
            ).fetchone() == (1,)
    except psycopg.Error:
        return False


async def state(client: httpx.AsyncClient) -> str:
    return str((await client.get("/healthz")).json()["search_database"])


async def await_state(client: httpx.AsyncClient, begins: str) -> None:
    """`begins` is a pattern."""

    async def is_there() -> bool:
        return re.match(begins, await state(client)) is not None

    await wait_until_async(is_there, f"the state to be {begins!r}", PATIENCE_S)


async def find(client: httpx.AsyncClient, text: str) -> Mapping[str, Any]:
    return await search(client, text=text, k=1)


def insert(url: str, key: int, title: str) -> None:
    vector = vector_literal(HashEncoder(dimensions=16), title)
    execute(
        url, "set sidecar.writer = 'on'", f"insert into products (id, title, e) values ({key}, '{title}', '{vector}')"
    )


async def test_reads_go_to_the_standby_until_it_is_too_far_behind_and_back(pair: Pair) -> None:
    async with searching_on(pair, search_max_lag_s=3) as client:
        await await_state(client, "ok: ")
        status = (await client.get("/status")).json()
        assert (status["database"], status["watches"][0]["relation"]) == ("ok", "public.products")
        assert status["replica_lag_s"] is not None
        execute(pair.standby.url, "select pg_wal_replay_pause()")
        try:
            insert(pair.primary.url, 20, "brass telescope")
            stale = await find(client, "brass telescope")
            assert keys(stale) != [20], "it was read from the standby, which does not have the row"
            assert stale["replica_lag_s"] is not None

            await await_state(client, r"\d+\.\d s behind, more than SEARCH_MAX_LAG_S \(3\): the primary is read")
            fresh = await find(client, "brass telescope")
            assert (keys(fresh), fresh["replica_lag_s"]) == ([20], None)
            page = (await client.get("/metrics")).text
            assert "sidecar_search_replica_used 0.0" in page
        finally:
            execute(pair.standby.url, "select pg_wal_replay_resume()")
        await await_state(client, "ok: ")
        caught_up = await find(client, "brass telescope")
        assert keys(caught_up) == [20]
        assert caught_up["replica_lag_s"] is not None
        assert "sidecar_search_replica_used 1.0" in (await client.get("/metrics")).text


async def test_another_database_of_the_standby_is_not_read(pair: Pair) -> None:
    execute(pair.primary.url, "create database elsewhere")
    execute(make_conninfo(pair.primary.url, dbname="elsewhere"), "create extension vector")
    elsewhere = make_conninfo(pair.standby.url, dbname="elsewhere")
    async with searching(pair.primary.url, make_encoder(), search_database_url=SecretStr(elsewhere)) as client:
        await await_state(client, "foreign: not the database of DATABASE_URL")
        assert keys(await find(client, "red bicycle")) == [1]


async def test_a_query_that_replay_cancels_is_run_again(pair: Pair) -> None:
    """A vacuum of the primary removes rows that the query's snapshot on the standby still sees."""
    ran_on: list[Database] = []

    async def count(database: Database) -> int:
        ran_on.append(database)
        async with database.connection() as connection:
            if len(ran_on) > 1:
                return int(await connection.fetchval("select count(*) from public.products"))
            removal = asyncio.create_task(asyncio.to_thread(remove_rows, pair.primary.url))
            try:
                return int(await connection.fetchval("select count(*) from public.products, pg_sleep(30)"))
            finally:
                await removal

    async with following(pair) as (reads, standby):
        found, lag_s = await reads.read(count)
        assert ran_on == [standby, standby]
        assert (found > 0, lag_s is not None) == (True, True)


def remove_rows(url: str) -> None:
    execute(
        url, "insert into products (id) select generate_series(1000, 1100)", "delete from products where id >= 1000"
    )
    execute(url, "vacuum products")


@asynccontextmanager
async def following(pair: Pair) -> AsyncIterator[tuple[Reads, Database]]:
    """Reads that go to the standby."""
    primary, standby = (Database(SecretStr(url)) for url in (pair.primary.url, pair.standby.url))
    reads = Reads(primary, standby, max_lag_s=30)

    async def is_used() -> bool:
        return reads.uses_standby

    await primary.open()
    await standby.open()
    try:
        async with background(reads.follow(), "follower"):
            await wait_until_async(is_used, "the standby to be used", PATIENCE_S)
            yield reads, standby
    finally:
        await primary.close()
        await standby.close()


async def test_a_standby_that_dies_leaves_searches_to_the_primary_until_it_is_back(pair: Pair) -> None:
    async with searching_on(pair) as client:
        await await_state(client, "ok: ")
        port = kill(pair.standby)
        answer = await find(client, "red bicycle")  # at once, while its death is not known yet
        assert (keys(answer), answer["replica_lag_s"]) == ([1], None)
        assert (await state(client)).startswith("gone, trying again")
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/status")).json()["database"] == "ok"
        pair.standby._port = port
        await asyncio.to_thread(pair.standby.start)
        await await_state(client, "ok: ")
        assert (await find(client, "red bicycle"))["replica_lag_s"] is not None


async def test_searches_go_on_while_the_primary_is_gone_and_after_the_standby_is_promoted(pair: Pair) -> None:
    """The last test of this module: it leaves no primary."""
    async with searching_on(pair) as client:
        await await_state(client, "ok: ")
        kill(pair.primary)
        assert keys(await find(client, "red bicycle")) == [1]
        await await_state(client, "ok: DATABASE_URL does not answer, the standby does")
        assert keys(await find(client, "red bicycle")) == [1]
        status = (await client.get("/status")).json()
        assert (status["database"], len(status["watches"])) == ("ok", 1)
        execute(pair.standby.url, "select pg_promote()")
        await await_state(client, "ok: DATABASE_URL does not answer, the server that was promoted does")
        assert keys(await find(client, "red bicycle")) == [1]


def kill(server: EmbeddedPostgres) -> int:
    """Ends the server at once, and returns its port."""
    assert server._process is not None
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    os.killpg(server._process.pid, signal.SIGQUIT)
    server._process.wait()
    if server._process.stdin is not None:
        server._process.stdin.close()
    return port
