from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, NullPool, create_engine

from sidecar.postgres.migrations import sqlalchemy_url
from tests.integration.alembic.user_project import Project
from tests.servers import Server


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> Project:
    """The example project, on a migrated database in which it has not done anything yet."""
    return Project.copy_to(tmp_path / "project", database_url)


@pytest.fixture(scope="package")
def shared_database_url(postgres_server: Server, migrated_template: str) -> Iterator[str]:
    """A migrated database for tests that commit nothing."""
    with postgres_server.lend_database(migrated_template) as url:
        yield url


@pytest.fixture
def transaction(shared_database_url: str) -> Iterator[Connection]:
    """An open transaction, rolled back at the end: what a migration and autogenerate do, they do in it."""
    with create_engine(sqlalchemy_url(shared_database_url), poolclass=NullPool).connect() as connection:
        yield connection
