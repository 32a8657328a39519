"""Runs the program `sidecar` in this process, and captures its output and exit code."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from sidecar.cli import main


@dataclass(frozen=True, slots=True)
class Outcome:
    """Exit code and output of a command."""

    code: int
    stdout: str
    stderr: str


class CommandLine:
    """Call it like a shell: `command_line("watch", "products")`. Tests set the environment with monkeypatch."""

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
        """Returns stdout; fails the test if the command fails or prints anything to stderr."""
        outcome = self(*arguments)
        assert (outcome.code, outcome.stderr) == (0, ""), outcome
        return outcome.stdout

    def fail(self, *arguments: str, code: int = 1) -> str:
        """Returns stderr: one line with the error, perhaps one with a hint. Fails the test if stdout is not empty."""
        outcome = self(*arguments)
        assert (outcome.code, outcome.stdout) == (code, ""), outcome
        lines = outcome.stderr.splitlines()
        assert [line.partition(":")[0] for line in lines] in (["ERROR"], ["ERROR", "HINT"]), outcome.stderr
        return outcome.stderr
