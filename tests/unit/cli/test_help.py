from __future__ import annotations

import resource
import subprocess
import sys

import pytest

import sidecar
from tests.command_line import CommandLine

COMMANDS = (
    *("demo", "serve", "migrate", "plan", "watch", "unwatch", "status", "search", "failures", "retry"),
    *("pause", "resume", "rate", "reembed", "verify", "doctor", "uninstall"),
)


def test_the_help_names_every_command(command_line: CommandLine) -> None:
    text = command_line.succeed("--help")
    assert [line.split()[0] for line in text.partition("Commands:")[2].splitlines() if line] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example_of_it(command_line: CommandLine, command: str) -> None:
    text = command_line.succeed(command, "--help")
    example = text.partition("Example")[2].partition("Options:")[0]
    assert f"sidecar {command}" in example


def test_without_a_command_it_shows_the_help(command_line: CommandLine) -> None:
    outcome = command_line()
    assert outcome.code == 2
    assert "Commands:" in outcome.stderr


def test_the_version_is_that_of_the_package(command_line: CommandLine) -> None:
    assert command_line.succeed("--version") == f"sidecar {sidecar.__version__}\n"


def test_an_unknown_command_is_wrong_usage(command_line: CommandLine) -> None:
    outcome = command_line("wach")
    assert outcome.code == 2
    assert "wach" in outcome.stderr


def test_the_help_answers_at_once() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = "import sys; sys.argv = ['sidecar', '--help']; from sidecar.cli import main; main()"
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # CPU time: what else runs on the machine has no part in it.
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 0.5


def test_nothing_heavy_is_imported_before_a_command_needs_it() -> None:
    program = (
        "import sys, sidecar.cli;"
        "print(*{'torch', 'open_clip', 'numpy', 'pydantic', 'psycopg', 'asyncpg', 'uvicorn'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ended.stdout.strip() == ""


def test_an_optional_table_stands_in_one_pair_of_brackets(command_line: CommandLine) -> None:
    assert "sidecar status [OPTIONS] [TABLE]\n" in command_line.succeed("status", "--help")
    assert "{SOURCE}...\n" in command_line.succeed("plan", "--help")
