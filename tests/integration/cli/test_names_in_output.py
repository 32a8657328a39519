"""Names that a terminal would obey, and commands with names that a shell can run as printed."""

from __future__ import annotations

import pytest

from tests.command_line import CommandLine
from tests.integration.cli.conftest import Db
from tests.terminal import terminal

NAME = '"a[/b]\x1b[2J\nERROR: "'


# A statement or query that is printed keeps the name's line breaks.
COMMANDS = [
    ("plan", "title --target t_e", False),
    ("watch", "--source title --target t_e", True),
    ("status", "", False),
    ("reembed", "", False),
    ("unwatch", "", True),
]


def test_no_control_character_of_a_name_reaches_the_terminal(
    db: Db, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute(f"create table {NAME} (id bigint primary key, title text)".encode())
    for command, more, has_statement in COMMANDS:
        with terminal(monkeypatch, 150) as screen:
            outcome = command_line(command, NAME, *more.split())
            printed = screen.read()
        assert outcome.code == 0, outcome
        assert '"a[/b] [2J ERROR: ".t_e' in printed or has_statement, printed
        assert "\x1b" not in printed
        assert "\nERROR" not in printed or has_statement, printed
    refused = command_line.fail("status", NAME)
    assert '"a[/b] [2J ERROR: " is not watched' in refused


def test_a_name_in_a_command_is_quoted_for_the_shell(db: Db, command_line: CommandLine) -> None:
    db.execute('create table "My products" (id bigint primary key, title text)')
    command_line.succeed("watch", '"My products"', "--source", "title")
    said = command_line.succeed("reembed", '"My products"')
    assert """sidecar status '"My products"' --follow""" in said
