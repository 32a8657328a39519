"""Wrong usage ends with ERROR and HINT, as all failures do, and with code 2."""

from __future__ import annotations

import json

import pytest

from tests.command_line import CommandLine


@pytest.mark.parametrize(
    ("typed", "error", "hint"),
    [
        ("wach", "no such command 'wach'", "Did you mean 'watch'?"),
        ("zzz", "sidecar: no such command 'zzz'", "sidecar --help shows the commands."),
        ("--frob", "sidecar has no option --frob", "sidecar --help shows the commands."),
        ("status --jsn", "sidecar status has no option --jsn", "Did you mean --json?"),
        ("status --xyzzy", "sidecar status has no option --xyzzy", "sidecar status --help shows how it is used."),
        (
            "status --json=3",
            "sidecar status: option '--json' does not take a value",
            "sidecar status --help shows how it is used.",
        ),
        (
            "watch a --source",
            "sidecar watch: option '--source' requires an argument",
            "sidecar watch --help shows how it is used.",
        ),
        ("watch", "sidecar watch: missing argument 'TABLE'", "sidecar watch --help shows how it is used."),
        ("status a b", "sidecar status: unexpected 'b'", "sidecar status --help shows how it is used."),
        (
            "plan a b --storage bit",
            "--storage: 'bit' is not one of 'vector', 'halfvec'",
            "sidecar plan --help shows how it is used.",
        ),
        ("search a b --limit x", "--limit: it has to be a whole number", "sidecar search --help shows how it is used."),
        (
            "search emoji sad cat",
            "sidecar search: unexpected 'cat'",
            "Put the query in quotes: sidecar search emoji 'sad cat'",
        ),
        (
            "search emoji cat's eye at night --limit 3",
            "sidecar search: unexpected 'eye at night'",
            """Put the query in quotes: sidecar search emoji 'cat'"'"'s eye at night'""",
        ),
    ],
)
def test_wrong_usage_is_an_error_with_a_hint(command_line: CommandLine, typed: str, error: str, hint: str) -> None:
    assert command_line.fail(*typed.split(), code=2) == f"ERROR: {error}\nHINT: {hint}\n"


def test_wrong_usage_has_its_hint_in_json_too(command_line: CommandLine) -> None:
    outcome = command_line("search", "emoji", "sad", "cat", "--json")
    hint = "Put the query in quotes: sidecar search emoji 'sad cat'"
    assert json.loads(outcome.stdout)["error"] == {
        "code": "wrong_usage",
        "message": "sidecar search: unexpected 'cat'",
        "hint": hint,
    }


def test_a_misspelt_variable_is_warned_about_but_not_in_the_help(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABSE_URL", "postgresql://me:hunter2@localhost/shop")
    outcome = command_line("status")
    warning, error, hint = outcome.stderr.splitlines()
    assert warning == "WARNING: DATABSE_URL is not a setting: did you mean DATABASE_URL?"
    assert (error, hint[:5]) == ("ERROR: DATABASE_URL is not set.", "HINT:")
    assert "hunter2" not in outcome.stderr
    assert "DATABSE_URL" not in command_line.succeed("status", "--help")
