"""Fixtures of the tests of connections."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.command_line import CommandLine
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, user


@pytest.fixture
def encoder() -> GatedEncoder:
    return GatedEncoder()


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Connection]:
    """A user's session in autocommit mode; also used to check the results."""
    async with user(database_url) as connection:
        yield connection


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)
