"""Reports errors to the user: a line or two on stderr, with --json an object on stdout too, and the exit code."""

from __future__ import annotations

import re
from typing import Any

import typer

from sidecar.cli.output import print_json
from sidecar.cli.usage_errors import describe_usage_error
from sidecar.error_lines import Problem, exit_code_of, problems_of, write_error
from sidecar.errors import SidecarError, StatementRejected
from sidecar.printable import on_one_line
from sidecar.process_exit import EXIT_FAILURE
from sidecar.redaction import redact

EXIT_FINDINGS = 3
"""`doctor` found problems or warnings, or `plan` found that `watch` would refuse."""


class ServiceUnavailable(SidecarError):
    """The REST service does not answer, or cannot embed yet."""


class AccessRefused(SidecarError):
    """The REST service wants a key, or another key."""


class PortUnavailable(SidecarError):
    """The address and port cannot be listened on."""


def report_error(error: SidecarError, *, as_json: bool = False) -> int:
    """Writes `ERROR: …`, and `HINT: …` if there is a hint, to stderr. Returns the exit code of the error.

    `as_json`: also writes `{"error": {"code", "message", "hint"}}` to stdout, so that programs always find one line
    of JSON there.
    """
    problems = problems_of(error)
    write_error(error)
    if as_json:
        message = "\n".join(problem.message for problem in problems)
        hint = "\n".join(problem.hint for problem in problems if problem.hint) or None
        print_json({"error": {"code": _code(error), "message": message, "hint": hint}})
    return exit_code_of(error)


def report_usage_error(error: Any, *, as_json: bool = False) -> int:
    """As `report_error`, for a ClickException of typer; one of them is the help for a program without arguments."""
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message(), err=True)
        return int(error.exit_code)
    problem = describe_usage_error(error)
    _write(problem)
    if as_json:
        print_json({"error": {"code": "wrong_usage", "message": problem.message, "hint": problem.hint}})
    return int(error.exit_code)


def report_abort(*, as_json: bool = False) -> int:
    """As `report_error`, for a question that was answered with no, or not at all."""
    problem = Problem("aborted: nothing was done", None)
    _write(problem)
    if as_json:
        print_json({"error": {"code": "aborted", "message": problem.message, "hint": None}})
    return EXIT_FAILURE


def _write(problem: Problem) -> None:
    for line in problem.lines:
        typer.echo(line, err=True)


def warn(message: str, hint: str | None = None) -> None:
    """Writes `WARNING: …`, and `HINT: …` if there is a hint, to stderr."""
    typer.echo(f"WARNING: {on_one_line(redact(message))}", err=True)
    if hint:
        typer.echo(f"HINT: {on_one_line(redact(hint))}", err=True)


def _code(error: SidecarError) -> str:
    """The SQLSTATE if Postgres rejected the statement, else the class in snake case, such as database_unavailable."""
    if isinstance(error, StatementRejected):
        return error.sqlstate
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()
