"""An error as its reader sees it: a line or two on stderr, with --json an object on stdout, and an exit code."""

from __future__ import annotations

import re

import typer

from sidecar.cli.output import print_json
from sidecar.errors import ConfigurationError, SidecarError, StatementRejected
from sidecar.redaction import redact

EXIT_FAILURE = 1
EXIT_CONFIGURATION = 2
EXIT_FINDINGS = 3
"""What was looked for was found: `doctor`, and `plan` where `watch` would refuse."""


class ServiceUnavailable(SidecarError):
    """The REST service does not answer, or cannot embed yet."""


class AccessRefused(SidecarError):
    """The REST service wants a key, or another one."""


class PortUnavailable(SidecarError):
    """Nobody can listen on the address and port that were asked for."""


def complain(error: SidecarError, *, as_json: bool = False) -> int:
    """Writes `ERROR: …`, and `HINT: …` where there is one, to stderr. Returns the exit code that goes with it.

    `as_json`: the same goes to stdout too, as `{"error": {"code", "message", "hint"}}`, so that a program that reads
    stdout finds one line of JSON there whatever happens.
    """
    problems = error.problems if isinstance(error, ConfigurationError) else [redact(str(error))]
    hint = redact(error.hint) if isinstance(error, StatementRejected) and error.hint else None
    for problem in problems:
        typer.echo(f"ERROR: {problem}", err=True)
    if hint:
        typer.echo(f"HINT: {hint}", err=True)
    if as_json:
        message, _, told = "\n".join(problems).partition("\nHINT: ")
        print_json({"error": {"code": _code(error), "message": message, "hint": hint or told or None}})
    return EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_FAILURE


def complain_in_json(reason: BaseException | None) -> None:
    """What made typer end the command, which it has told on stderr: wrong usage, or a question answered with no."""
    if isinstance(reason, typer.Abort):
        print_json({"error": {"code": "aborted", "message": "aborted: nothing was done", "hint": None}})
    elif (format_message := getattr(reason, "format_message", None)) is not None:
        print_json({"error": {"code": "wrong_usage", "message": format_message(), "hint": None}})


def warn(message: str, hint: str | None = None) -> None:
    """Writes `WARNING: …`, and the hint, to stderr."""
    typer.echo(f"WARNING: {redact(message)}", err=True)
    if hint:
        typer.echo(f"HINT: {redact(hint)}", err=True)


def _code(error: SidecarError) -> str:
    """The SQLSTATE of what Postgres refused, else the kind of error: database_unavailable."""
    if isinstance(error, StatementRejected):
        return error.sqlstate
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()
