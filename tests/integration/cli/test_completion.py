"""What the shell offers after Tab: commands, options, and names from the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

import pytest

from tests.command_line import CommandLine
from tests.integration.cli.conftest import Db

Complete: TypeAlias = Callable[[str], list[str]]


@pytest.fixture
def complete(command_line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """Completes the last word of a line, as bash does."""

    def run(line: str) -> list[str]:
        monkeypatch.setenv("_SIDECAR_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        return command_line.succeed().split()

    return run


def test_tables_and_targets_are_completed_from_the_database(watched: Db, complete: Complete) -> None:
    watched.execute("create table prices (id int primary key)")
    watched.execute('create table "Pro max" (id int primary key)')
    assert complete("sidecar pause pr") == ["products"]
    assert complete("sidecar status pr") == ["products"]
    assert complete("sidecar plan pr") == ["prices", "products"], "any table, but none that needs quotes"
    assert complete("sidecar watch products --source ti") == ["title"]
    assert complete("sidecar search products --target ") == ["e"]
    assert complete("sidecar search prices --target ") == []


@pytest.mark.parametrize("url", ["", "nonsense", "postgresql://nobody@127.0.0.1:1/none"])
def test_without_a_database_nothing_is_completed_nothing_printed_and_nobody_waits(
    complete: Complete,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    began = time.monotonic()
    assert complete("sidecar status pr") == []
    assert time.monotonic() - began < 8


def test_commands_are_completed_without_a_database(complete: Complete) -> None:
    assert complete("sidecar un") == ["uninstall", "unwatch"]
