"""Options that set the length of the random tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.ingest.watched_table import Connection, user


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-epochs", type=int, help="epochs of each chaos test (pytest tests/faults only)")
    parser.addoption("--chaos-seed", type=int, help="where their random numbers begin")


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Connection]:
    """The oracle's session, in autocommit."""
    async with user(database_url) as connection:
        yield connection
