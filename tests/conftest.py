"""Fixtures every test may use.

    postgres_server         a server with pgvector, for the whole run
    ├── plain_database_url  an empty database, for one test
    └── migrated_template   a database with the schema `sidecar`, for the whole run, never connected to
        └── database_url    a copy of it, for one test

SIDECAR_TEST_DATABASE_URL names a server to use (a superuser's URL), SIDECAR_TEST_CONTAINERS=1 starts one in Docker;
otherwise it is the embedded one. SIDECAR_TEST_POSTGRES_VERSION is 16 or 18.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sidecar.config import Settings, variable_names
from tests.servers import Server, container_server, embedded_server, open_directory
from tests.tasks import no_task_left

_OURS = {name for field_name in Settings.model_fields for name in variable_names(field_name)}
for _name in list(os.environ):
    if _name in _OURS or _name.startswith("PG"):
        del os.environ[_name]
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    url = os.environ.get("SIDECAR_TEST_DATABASE_URL")
    version = os.environ.get("SIDECAR_TEST_POSTGRES_VERSION", "18")
    if url:
        yield Server(url)
    elif os.environ.get("SIDECAR_TEST_CONTAINERS") == "1":
        with container_server(version) as server:
            yield server
    else:
        with embedded_server(version) as server:
            yield server


@pytest.fixture(scope="session")
def migrated_template(postgres_server: Server) -> Iterator[str]:
    from sidecar.postgres.migrations import migrate

    name = postgres_server.create_database()
    migrate(postgres_server.database_url(name))
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
def database_url(postgres_server: Server, migrated_template: str) -> Iterator[str]:
    """A migrated database of the test's own. The test fails if a connection to it stays open."""
    with postgres_server.lend_database(migrated_template) as url:
        yield url


@pytest.fixture
def plain_database_url(postgres_server: Server) -> Iterator[str]:
    """An empty database of the test's own, not even pgvector in it. The test fails if a connection stays open."""
    with postgres_server.lend_database() as url:
        yield url


@pytest.fixture
def open_tmp_path() -> Iterator[Path]:
    """As tmp_path, and a server that runs as another user can enter it."""
    with open_directory() as directory:
        yield directory


@pytest.fixture(autouse=True)
def _no_task_is_left(request: pytest.FixtureRequest) -> None:
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_task_check")


@pytest.fixture
async def _task_check() -> AsyncIterator[None]:
    async with no_task_left():
        yield
