"""Fixtures for tests of roles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, user
from tests.integration.roles.cast import Cast, Stage, cast_of_roles, installed_database
from tests.servers import Server


@pytest.fixture(scope="package")
def cast(postgres_server: Server) -> Iterator[Cast]:
    with cast_of_roles(postgres_server) as cast:
        yield cast


@pytest.fixture(scope="package")
def installed_template(postgres_server: Server, cast: Cast) -> Iterator[str]:
    with installed_database(postgres_server, cast) as name:
        yield name


@pytest.fixture
def stage(postgres_server: Server, cast: Cast, installed_template: str) -> Iterator[Stage]:
    with postgres_server.lend_database(installed_template) as url:
        yield Stage(cast, url)


@pytest.fixture
async def owner(stage: Stage) -> AsyncIterator[Connection]:
    """A session of the tables' owner, a member of the installer. The oracle reads through it too."""
    async with user(stage.owner) as connection:
        yield connection


@pytest.fixture
async def admin(stage: Stage) -> AsyncIterator[Connection]:
    """A session of a superuser, for statements that no role of the cast may run."""
    async with user(stage.admin) as connection:
        yield connection


@pytest.fixture
def encoder() -> GatedEncoder:
    return GatedEncoder()
