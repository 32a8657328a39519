"""An error as the lines that a command ends with: `ERROR: …`, and `HINT: …` where there is one."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

from sidecar.errors import ConfigurationError, SidecarError, StatementRejected
from sidecar.printable import in_lines, on_one_line
from sidecar.process_exit import EXIT_CONFIGURATION, EXIT_FAILURE
from sidecar.redaction import redact

_HINT = "\nHINT: "


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and what to do. Without secrets."""

    message: str
    hint: str | None

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message

    @property
    def lines(self) -> list[str]:
        lines = [f"ERROR: {self.message}", *([f"HINT: {self.hint}"] if self.hint else [])]
        return [in_lines(line) for line in lines]


def problems_of(error: SidecarError) -> list[Problem]:
    """One problem; of a ConfigurationError, all."""
    if isinstance(error, StatementRejected):  # it quotes names, which may hold line breaks
        hint = error.hint and on_one_line(redact(error.hint))
        return [Problem(on_one_line(redact(error.message)), hint or None)]
    texts = error.problems if isinstance(error, ConfigurationError) else [redact(str(error))]
    problems = []
    for text in texts:
        message, _, hint = text.partition(_HINT)
        problems.append(Problem(message, hint or None))
    return problems


def describe(error: SidecarError) -> str:
    """All problems on one line, with their hints."""
    return "; ".join(str(problem) for problem in problems_of(error))


def log_error(error: SidecarError, logger: logging.Logger) -> None:
    """Logs a line for each problem at CRITICAL; in the log's JSON format, `hint` is a field of it too."""
    for problem in problems_of(error):
        logger.critical("%s", problem, extra={"fields": {"hint": problem.hint} if problem.hint else {}})


def exit_code_of(error: SidecarError) -> int:
    """2 for settings, 1 for everything else."""
    return EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_FAILURE


def write_error(error: SidecarError) -> None:
    """Writes the lines of all problems to stderr."""
    lines = [line for problem in problems_of(error) for line in problem.lines]
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()
