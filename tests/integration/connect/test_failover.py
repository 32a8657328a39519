"""Servers that restart, crash or fail over: rows get their vectors seconds later."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.operations.checkup import check_database
from sidecar.operations.findings import Limits
from sidecar.operations.migrations import migrate
from tests.integration.connect.standby import SETTINGS, Pair, execute, primary_and_standby
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.watched_table import WatchedTable, run, user, value
from tests.waiting import wait_until, wait_until_async

RECOVERY_S = 8.0


@pytest.fixture
def own_server(open_tmp_path: Path, postgres_version: str) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(open_tmp_path / "own", postgres_version, settings=SETTINGS) as server:
        migrate(server.url)
        yield server


@pytest.fixture
def pair(open_tmp_path: Path, postgres_version: str) -> Iterator[Pair]:
    with primary_and_standby(open_tmp_path, postgres_version) as pair:
        migrate(pair.primary.url)
        yield pair


async def check(table: WatchedTable, url: str, encoder: GatedEncoder, title: str) -> None:
    """Checks that a change gets its vector, and that the sidecar is reported as running."""
    async with user(url) as db:
        there = WatchedTable(db, *(getattr(table, name) for name in WatchedTable.__slots__ if name != "connection"))
        await run(db, "update items set title = %s || id", title)

        async def is_right() -> bool:
            await there.age_leases()  # leases of claims whose answer was lost
            return not await there.wrong(encoder)

        await wait_until_async(is_right, "every vector to be right", RECOVERY_S)
        beats = "select count(*) > 0 from sidecar_internal.sidecars where seen_at > clock_timestamp() - interval '5 s'"

        async def beats_again() -> bool:
            return bool(await value(db, beats))

        await wait_until_async(beats_again, "a heartbeat", RECOVERY_S)


def test_doctor_reports_a_standby(pair: Pair) -> None:
    wait_until(lambda: _is_migrated(pair.standby.url), "the standby to catch up")
    with psycopg.connect(pair.standby.url, autocommit=True) as connection:
        found = [f for f in check_database(connection, Limits()).findings if f.check == "read_only"]
    assert ["standby" in f.what and "target_session_attrs=read-write" in f.remedy for f in found] == [True]
    with psycopg.connect(pair.primary.url, autocommit=True) as connection:
        assert [f for f in check_database(connection, Limits()).findings if f.check == "read_only"] == []


def _is_migrated(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("select to_regclass('sidecar.alembic_version') is not null").fetchone() == (True,)


async def test_work_resumes_after_a_crash_or_an_immediate_shutdown(
    own_server: EmbeddedPostgres, encoder: GatedEncoder
) -> None:
    """First a backend crashes, so that the postmaster ends all sessions and recovers; then the whole server does."""
    async with user(own_server.url) as db:
        table = await make_texts(db, 20)
        async with running_ingest(own_server.url, encoder) as running:
            await table.settle_right(encoder)
            await run(db, "checkpoint")
            os.kill(await value(db, "select pg_backend_pid()"), signal.SIGKILL)
            await asyncio.to_thread(wait_until, lambda: _answers(own_server.url), "the server to recover")
            await check(table, own_server.url, encoder, "after the crash ")

            execute(own_server.url, "checkpoint")
            assert own_server._process is not None
            port = int(own_server.url.rpartition(":")[2].partition("/")[0])
            os.killpg(own_server._process.pid, signal.SIGQUIT)
            await asyncio.to_thread(own_server._process.wait)
            assert own_server._process.stdin is not None
            own_server._process.stdin.close()
            own_server._port = port
            await asyncio.to_thread(own_server.start)
            await check(table, own_server.url, encoder, "after the restart ")
            assert not running.task.done()


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


@pytest.mark.parametrize("end", ["keeps its sockets", "dies"])
async def test_a_standby_that_is_promoted_takes_over(pair: Pair, encoder: GatedEncoder, end: str) -> None:
    async with user(pair.primary.url) as db:
        table = await make_texts(db)
        await insert_titles(db, 1, 20)
    async with running_ingest(pair.url, encoder) as running:
        async with user(pair.primary.url) as db:
            await wait_until_async(lambda: _is_settled(db), "the first vectors")
        wait_until(lambda: _rows(pair.standby.url) == 20, "the standby to catch up")
        if end == "dies":
            assert pair.primary._process is not None
            os.killpg(pair.primary._process.pid, signal.SIGQUIT)
        else:
            execute(pair.primary.url, "alter system set default_transaction_read_only = on", "select pg_reload_conf()")
        execute(pair.standby.url, "select pg_promote()")
        await check(table, pair.standby.url, encoder, "after the failover ")
        assert not running.task.done()
    if end != "dies":
        execute(pair.primary.url, "alter system reset default_transaction_read_only", "select pg_reload_conf()")


async def _is_settled(db: psycopg.AsyncConnection[tuple[object, ...]]) -> bool:
    return bool(
        await value(
            db, "select count(embedding) = 20 and not exists (select from sidecar_internal.events_1) from items"
        )
    )


def _rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("select count(embedding) from items").fetchone()
    assert row is not None
    return int(row[0])
