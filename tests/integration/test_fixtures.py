"""The checks that the fixtures make: each of them can fail."""

import asyncio
import os
from pathlib import Path

import psycopg
import pytest

from sidecar.config import Settings, load_settings
from tests.conftest import ON_EVERY_POSTGRES
from tests.servers import Server
from tests.tasks import no_task_left


async def test_a_task_left_running_fails_the_check() -> None:
    with pytest.raises(AssertionError, match=r"tasks left running: \['forgotten'\]"):
        async with no_task_left():
            forgotten = asyncio.create_task(asyncio.Event().wait(), name="forgotten")
    with pytest.raises(asyncio.CancelledError):
        await forgotten


async def test_tasks_that_end_pass_the_check() -> None:
    async with no_task_left():
        await asyncio.create_task(asyncio.sleep(0))
        asyncio.create_task(asyncio.Event().wait()).cancel()


def test_a_connection_left_open_fails_the_test_and_the_database_is_dropped(postgres_server: Server) -> None:
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


def test_databases_of_two_tests_are_separate(postgres_server: Server) -> None:
    with postgres_server.lend_database() as one, postgres_server.lend_database() as other:
        with psycopg.connect(one) as connection:
            connection.execute("create table mine ()")
        with psycopg.connect(other) as connection, pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("select from mine")


def test_the_developers_settings_do_not_reach_a_test() -> None:
    assert load_settings() == Settings()
    assert not [name for name in os.environ if name.startswith("PG")]


def test_the_files_that_run_on_every_postgres_exist() -> None:
    assert [path for path in ON_EVERY_POSTGRES if not (Path(__file__).parents[1] / path).is_file()] == []


def test_the_server_has_the_requested_version(postgres_server: Server, postgres_version: str) -> None:
    with psycopg.connect(postgres_server.url) as connection:
        assert connection.info.server_version // 10_000 == int(postgres_version)
