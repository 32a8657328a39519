"""A command line, and roles."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.command_line import CommandLine
from tests.integration.roles.cast import Stage, cast_of_roles, installed_database
from tests.servers import Server


@pytest.fixture
def stage(postgres_server: Server) -> Iterator[Stage]:
    """A database whose sidecar has a role of its own, with only its grants."""
    with cast_of_roles(postgres_server) as cast, installed_database(postgres_server, cast) as name:
        yield Stage(cast, postgres_server.database_url(name))


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)
