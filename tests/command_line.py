"""The program `sidecar` in this process: its arguments in, its output and exit code out."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from sidecar.cli import main


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str


class CommandLine:
    """Call it as a shell would: `command_line("watch", "products")`, in an environment that tests can change."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Outcome:
        self._monkeypatch.setattr(sys, "argv", ["sidecar", *arguments])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self._capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Outcome(code, printed.out, printed.err)

    def succeed(self, *arguments: str) -> str:
        """What it printed to stdout; a failure, or a word on stderr, fails the test."""
        outcome = self(*arguments)
        assert (outcome.code, outcome.stderr) == (0, ""), outcome
        return outcome.stdout

    def fail(self, *arguments: str, code: int = 1) -> str:
        """What it printed to stderr: one line for the error, perhaps one for the hint. Nothing on stdout."""
        outcome = self(*arguments)
        assert (outcome.code, outcome.stdout) == (code, ""), outcome
        lines = outcome.stderr.splitlines()
        assert [line.partition(":")[0] for line in lines] in (["ERROR"], ["ERROR", "HINT"]), outcome.stderr
        return outcome.stderr
