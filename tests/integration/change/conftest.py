"""Fixtures for tests of upgrades, renames, dumps and dropped tables."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, user


@pytest.fixture
def encoder() -> GatedEncoder:
    return GatedEncoder()


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Connection]:
    """A user's session, in autocommit. The oracle reads through it too."""
    async with user(database_url) as connection:
        yield connection
