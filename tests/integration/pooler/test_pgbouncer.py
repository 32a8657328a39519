"""A sidecar whose DATABASE_URL leads through a pooler in transaction mode."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import psycopg
import pytest
from pydantic import SecretStr

from sidecar.errors import StatementRejected
from sidecar.postgres.database import Database, open_session
from sidecar.postgres.session_settings import SESSION_SETTINGS
from tests.encoders import HashEncoder
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, insert_titles, make_texts
from tests.integration.ingest.test_index_keeper import until_indexed
from tests.integration.ingest.test_signals import LONG_S, until_asleep, until_listening, until_woken
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value
from tests.integration.pooler.pgbouncer import PROGRAM, pgbouncer
from tests.integration.server.process import Process, sidecar_process
from tests.waiting import wait_until

if PROGRAM is None:
    pytest.skip("the program pgbouncer is not on this machine", allow_module_level=True)

FORGETFUL = ", ".join(SESSION_SETTINGS)
HOPS = 15  # a number of transactions, more than the pooler has connections


@pytest.fixture
def encoder() -> GatedEncoder:
    return GatedEncoder()


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Connection]:
    """A user's session, past the pooler."""
    async with user(database_url) as connection:
        yield connection


@pytest.fixture
def pooler_url(database_url: str, open_tmp_path: Path) -> Iterator[str]:
    with pgbouncer(open_tmp_path, database_url) as url:
        yield url


@pytest.fixture
def forgetful_url(database_url: str, open_tmp_path: Path) -> Iterator[str]:
    """The URL of a pooler that is configured to accept our settings, and drops them."""
    with pgbouncer(open_tmp_path, database_url, ignored=FORGETFUL) as url:
        yield url


async def live_through_changes(db: Connection, table: WatchedTable, encoder: HashEncoder) -> None:
    for statement in (
        "insert into items select i + 1000, 'late ' || i from generate_series(1, 300) i",
        "update items set title = title || '!' where id % 3 = 0",
        "update items set title = null where id % 7 = 0",
        "delete from items where id % 5 = 0",
        "truncate items",
        "insert into items values (1, 'again')",
    ):
        await run(db, statement)
        await table.settle_right(encoder)


@in_row_and_companion
async def test_vectors_follow_their_rows(
    database_url: str, pooler_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, 300, companion=companion)
    async with running_ingest(pooler_url, encoder, listen_database_url=SecretStr(database_url)):
        await live_through_changes(db, table, encoder)


@pytest.mark.parametrize("way", ["pooler_url", "forgetful_url"])
async def test_without_a_direct_connection_rows_are_polled_and_a_warning_says_why(
    request: pytest.FixtureRequest, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    table = await make_texts(db, 300, index="halfvec")
    async with running_ingest(request.getfixturevalue(way), encoder):
        await live_through_changes(db, table, encoder)
        assert (
            await value(db, "select last_value from sidecar_internal.asleep_1") == 1
        )  # commits of users send no useless notification
    told = [record.message for record in caplog.records if "leads to a connection pooler" in record.message]
    assert "Set LISTEN_DATABASE_URL to a direct connection." in told[0]


async def test_notifications_and_index_builds_use_the_direct_connection(
    database_url: str,
    pooler_url: str,
    db: Connection,
    encoder: GatedEncoder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "sidecar.ingest.worker")
    table = await make_texts(db, 50, index="halfvec")
    listen_url = SecretStr(database_url)
    async with running_ingest(pooler_url, encoder, poll_interval_s=LONG_S, listen_database_url=listen_url):
        await table.settle()
        await until_indexed(db)
        await until_listening(db)
        await until_woken(caplog)  # once after connecting
        await until_asleep(db)
        caplog.clear()
        await insert_titles(db, 100, 100)
        await until_woken(caplog)
        await table.settle_right(encoder)


@pytest.mark.parametrize("way", ["pooler_url", "forgetful_url"])
async def test_settings_are_set_in_each_transaction_and_stay_in_no_session(
    request: pytest.FixtureRequest, way: str
) -> None:
    url = request.getfixturevalue(way)
    seen = f"select jsonb_object_agg(n, current_setting(n, true)) from unnest(array{list(SESSION_SETTINGS)}) n"
    database = Database(SecretStr(url))
    await database.open()
    try:
        for _ in range(HOPS):
            async with database.connection() as connection:
                assert '"sidecar.writer": "on"' in await connection.fetchval(seen)
                assert '"row_security": "off"' in await connection.fetchval(seen)
                async with connection.transaction():
                    assert '"search_path": "pg_catalog, pg_temp"' in await connection.fetchval(seen)
                    assert await connection.fetchval("show transaction_isolation") == "read committed"
    finally:
        await database.close()
    strangers = await asyncpg.connect(url, statement_cache_size=0)
    try:
        for _ in range(HOPS):
            left = await strangers.fetchval(seen)
            assert '"sidecar.writer": "on"' not in left
            assert '"row_security": "on"' in left
    finally:
        await strangers.close()


async def test_a_failed_statement_leaves_no_transaction_open(pooler_url: str) -> None:
    database = Database(SecretStr(pooler_url))
    await database.open()
    try:
        async with database.connection() as connection:
            with pytest.raises(asyncpg.DivisionByZeroError):
                await connection.fetchval("select 1 / $1::integer", 0)
            assert not connection.is_in_transaction()
            assert await connection.fetchval("select 1") == 1
    finally:
        await database.close()


@pytest.mark.parametrize("way", ["pooler_url", "forgetful_url"])
async def test_a_session_through_a_pooler_is_rejected(request: pytest.FixtureRequest, way: str) -> None:
    with pytest.raises(StatementRejected, match="leads to a connection pooler") as caught:
        await open_session(SecretStr(request.getfixturevalue(way)))
    assert caught.value.hint == "Set LISTEN_DATABASE_URL to a direct connection."


def counts(process: Process) -> tuple[int, int]:
    [watch] = httpx.get(f"{process.url}/status", timeout=20).json()["watches"]
    return watch["embedded"], watch["pending"]


def test_the_whole_process_works_behind_a_pooler(database_url: str, pooler_url: str, tmp_path: Path) -> None:
    program = ("-m", "tests.integration.server.program", "hash")
    with (
        psycopg.connect(database_url, autocommit=True) as connection,
        sidecar_process(
            tmp_path, program, DATABASE_URL=pooler_url, LISTEN_DATABASE_URL=database_url, LOG_LEVEL="WARNING"
        ) as process,
    ):
        process.await_ready()
        connection.execute("create table items (id bigint primary key, title text)")
        connection.execute("select sidecar.watch('items', 'title')")
        for key in range(HOPS):
            connection.execute("insert into items values (%s, 'a cup of coffee')", [key])
            connection.execute(f"call sidecar.wait_embedded('items', '{{\"id\": {key}}}', timeout_ms => 10000)")
        wait_until(lambda: counts(process) == (HOPS, 0), lambda: f"nothing to be pending: {counts(process)}")
        process.stop()
        assert process.exit_code() == 0
        assert process.log == ""
