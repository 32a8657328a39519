"""Fixtures for all tests.

    postgres_version            "16" or "18"
    └── postgres_server         a server with pgvector, for the whole run
        ├── plain_database_url  an empty database, for one test
        └── migrated_template   a database with the schema `sidecar`, for the whole run, never connected to
            └── database_url    a copy of it, for one test

SIDECAR_TEST_DATABASE_URL names a server to use (a superuser's URL), SIDECAR_TEST_CONTAINERS=1 starts one in Docker;
otherwise it is the embedded one. SIDECAR_TEST_POSTGRES_VERSION is 16 or 18; unset, it is 18, and the files named below
run on 16 too.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest

from sidecar.config import Settings, set_openmp_defaults, variable_names
from sidecar.embedded_postgres.programs import VERSIONS
from tests.servers import Server, Servers, open_directory
from tests.tasks import no_task_left

_OURS = {name for field_name in Settings.model_fields for name in variable_names(field_name)}
for _name in list(os.environ):
    if _name in _OURS or _name.startswith("PG"):
        del os.environ[_name]
os.environ["HF_HUB_OFFLINE"] = "1"
set_openmp_defaults()

# `make test` uses the same few examples each time, `make faults` many new ones. No deadlines: machines may be loaded.
_patient = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("short", _patient, max_examples=40, derandomize=True, database=None)
hypothesis.settings.register_profile("long", _patient, max_examples=400, print_blob=True)
hypothesis.settings.load_profile("short")


# Tests of what differs between versions (planner, dump, DDL, triggers, protocol) run on both, the rest on the newest.
# Slow ones run on the older version in `make faults` only.
ON_EVERY_POSTGRES = (
    "e2e/test_demo.py",
    "integration/change/test_dumps.py",
    "integration/change/test_restored_schema.py",
    "integration/ingest/test_changes.py",
    "integration/ingest/test_frozen.py",
    "integration/ingest/test_keys.py",
    "integration/search/test_plans.py",
    "integration/search/test_types.py",
    "integration/sql/test_hybrid_search.py",
    "integration/sql/test_migrations.py",
    "integration/sql/test_partitions.py",
    "integration/sql/test_triggers.py",
    "integration/test_cookbook.py",
    "integration/test_documents.py",
    "integration/test_fixtures.py",
)
LONG_ON_OLDER_POSTGRES = (
    "e2e/test_demo.py",
    "integration/change/test_dumps.py",
    "integration/change/test_restored_schema.py",
    "integration/ingest/test_changes.py",
    "integration/ingest/test_frozen.py",
    "integration/ingest/test_keys.py",
    "integration/search/test_types.py",
    "integration/test_cookbook.py",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs the files of ON_EVERY_POSTGRES on each embedded Postgres, unless a server or version is chosen."""
    chosen = any(os.environ.get(f"SIDECAR_TEST_{name}") for name in ("DATABASE_URL", "CONTAINERS", "POSTGRES_VERSION"))
    path = metafunc.definition.path.relative_to(Path(__file__).parent).as_posix()
    if not chosen and path in ON_EVERY_POSTGRES and "postgres_version" in metafunc.fixturenames:
        newest, *older = reversed(VERSIONS)
        marks = [pytest.mark.long] if path in LONG_ON_OLDER_POSTGRES else []
        versions = [pytest.param(newest, id=f"postgres-{newest}")]
        versions += [pytest.param(version, id=f"postgres-{version}", marks=marks) for version in older]
        metafunc.parametrize("postgres_version", versions, indirect=True, scope="session")


@pytest.fixture(scope="session")
def postgres_version(request: pytest.FixtureRequest) -> str:
    """The major version of `postgres_server`."""
    return str(getattr(request, "param", os.environ.get("SIDECAR_TEST_POSTGRES_VERSION", VERSIONS[-1])))


@pytest.fixture(scope="session")
def _postgres_servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(
            stack, os.environ.get("SIDECAR_TEST_DATABASE_URL"), os.environ.get("SIDECAR_TEST_CONTAINERS") == "1"
        )


@pytest.fixture(scope="session")
def postgres_server(_postgres_servers: Servers, postgres_version: str) -> Server:
    return _postgres_servers.server(postgres_version)


@pytest.fixture(scope="session")
def migrated_template(_postgres_servers: Servers, postgres_version: str) -> str:
    return _postgres_servers.migrated_template(postgres_version)


@pytest.fixture
def database_url(postgres_server: Server, migrated_template: str) -> Iterator[str]:
    """A migrated database of the test's own. The test fails if a connection to it stays open."""
    with postgres_server.lend_database(migrated_template) as url:
        yield url


@pytest.fixture
def plain_database_url(postgres_server: Server) -> Iterator[str]:
    """An empty database of the test's own, without pgvector. The test fails if a connection to it stays open."""
    with postgres_server.lend_database() as url:
        yield url


@pytest.fixture
def open_tmp_path() -> Iterator[Path]:
    """Like tmp_path, but a server that runs as another user can enter it."""
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
