"""A command line."""

from __future__ import annotations

import pytest

from tests.command_line import CommandLine


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)
