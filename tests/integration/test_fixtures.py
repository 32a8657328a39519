"""What the fixtures watch for: a check that never fails is worth nothing."""

import asyncio
import os
from pathlib import Path

import psycopg
import pytest

from sidecar.config import Settings, load_settings
from tests.conftest import ON_EVERY_POSTGRES
from tests.servers import Server
from tests.tasks import no_task_left


async def test_a_task_left_running_is_found_and_named() -> None:
    with pytest.raises(AssertionError, match=r"tasks left running: \['forgotten'\]"):
        async with no_task_left():
            forgotten = asyncio.create_task(asyncio.Event().wait(), name="forgotten")
    with pytest.raises(asyncio.CancelledError):
        await forgotten


async def test_tasks_that_end_are_fine() -> None:
    async with no_task_left():
        await asyncio.create_task(asyncio.sleep(0))
        asyncio.create_task(asyncio.Event().wait()).cancel()


def test_a_connection_left_open_is_found_and_its_database_dropped_all_the_same(postgres_server: Server) -> None:
    with (
        pytest.raises(AssertionError, match=r"all connections to be closed; open are \['forgotten idle "),
        postgres_server.lend_database() as url,
    ):
        forgotten = psycopg.connect(url, application_name="forgotten")
    with pytest.raises(psycopg.OperationalError):
        forgotten.execute("select 1")
    forgotten.close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_databases_of_two_tests_have_nothing_in_common(postgres_server: Server) -> None:
    with postgres_server.lend_database() as one, postgres_server.lend_database() as other:
        with psycopg.connect(one) as connection:
            connection.execute("create table mine ()")
        with psycopg.connect(other) as connection, pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("select from mine")


def test_no_setting_of_the_developers_own_reaches_a_test() -> None:
    assert load_settings() == Settings()
    assert not [name for name in os.environ if name.startswith("PG")]


def test_every_file_that_runs_on_every_postgres_exists() -> None:
    assert [path for path in ON_EVERY_POSTGRES if not (Path(__file__).parents[1] / path).is_file()] == []


def test_the_server_is_of_the_version_that_was_asked_for(postgres_server: Server, postgres_version: str) -> None:
    with psycopg.connect(postgres_server.url) as connection:
        assert connection.info.server_version // 10_000 == int(postgres_version)
