"""The help of the program and of each command."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

import sidecar
from tests.command_line import CommandLine

GROUPS = {
    "Set up:": ["demo", "migrate", "export", "serve", "ray", "uninstall"],
    "Choose what is embedded:": ["plan", "bench", "watch", "unwatch"],
    "Use and control:": ["search", "mcp", "recall", "status", "backfill", "pause", "resume", "rate", "reembed"],
    "Find and repair faults:": ["failures", "retry", "texts", "verify", "doctor"],
}
COMMANDS = tuple(command for commands in GROUPS.values() for command in commands)


def test_the_help_lists_every_command_on_one_line_of_80_columns_in_groups(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = command_line.succeed("--help")
    found = {}
    for group in text.partition("Show this message and exit.\n\n")[2].split("\n\n"):
        heading, *lines = group.splitlines()
        found[heading] = [line.split()[0] for line in lines]
        assert all(line.endswith(".") and not line.endswith("...") and len(line) <= 80 for line in lines), lines
    assert found == GROUPS


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example(command_line: CommandLine, command: str) -> None:
    text = command_line.succeed(command, "--help")
    example = text.partition("Example")[2].partition("Options:")[0]
    assert f"sidecar {command}" in example


def test_without_a_command_the_help_is_shown(command_line: CommandLine) -> None:
    outcome = command_line()
    assert outcome.code == 2
    assert "Set up:" in outcome.stderr


def test_help_may_be_asked_for_as_a_command(command_line: CommandLine) -> None:
    assert command_line.succeed("help") == command_line.succeed("--help")
    assert command_line.succeed("help", "watch") == command_line.succeed("watch", "--help")
    assert "no such command 'nothing'" in command_line("help", "nothing").stderr


def test_version_prints_the_version_of_the_package(command_line: CommandLine) -> None:
    assert command_line.succeed("--version") == f"sidecar {sidecar.__version__}\n"


def test_an_unknown_option_is_wrong_usage(command_line: CommandLine) -> None:
    outcome = command_line("status", "--folow")
    assert outcome.code == 2
    assert "--follow" in outcome.stderr


def test_the_help_takes_little_more_cpu_than_the_libraries_that_print_it() -> None:
    """On an idle machine 0.35 s; a model's or a database's library would add a second."""
    libraries = "import asyncio, http.client, rich.console, typer"
    help_ = "import sys; sys.argv = ['sidecar', '--help']; from sidecar.cli import main; main()"
    # The least of several, since machines are slow at times.
    assert min(_cpu_s(help_) for _ in range(3)) < 2.2 * min(_cpu_s(libraries) for _ in range(3))


def _cpu_s(program: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # CPU time, so that other processes on the machine do not count.
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    program = (
        "import sys, sidecar.cli;"
        "print(*{'torch', 'open_clip', 'numpy', 'pydantic', 'psycopg', 'asyncpg', 'uvicorn'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ended.stdout.strip() == ""


def test_an_optional_argument_has_one_pair_of_brackets(command_line: CommandLine) -> None:
    assert "sidecar status [OPTIONS] [TABLE]\n" in command_line.succeed("status", "--help")
    assert "{SOURCE}...\n" in command_line.succeed("plan", "--help")
