"""An error as its reader sees it: a line or two on stderr, and an exit code."""

from __future__ import annotations

import typer

from sidecar.errors import ConfigurationError, SidecarError, StatementRejected
from sidecar.redaction import redact

EXIT_FAILURE = 1
EXIT_CONFIGURATION = 2
EXIT_FINDINGS = 3
"""What was looked for was found: `doctor`, and `plan` where `watch` would refuse."""


class ServiceUnavailable(SidecarError):
    """The REST service does not answer, or cannot embed yet."""


class PortUnavailable(SidecarError):
    """Nobody can listen on the address and port that were asked for."""


def complain(error: SidecarError) -> int:
    """Writes `ERROR: …`, and `HINT: …` where there is one, to stderr. Returns the exit code that goes with it."""
    problems = error.problems if isinstance(error, ConfigurationError) else [redact(str(error))]
    for problem in problems:
        typer.echo(f"ERROR: {problem}", err=True)
    if isinstance(error, StatementRejected) and error.hint:
        typer.echo(f"HINT: {redact(error.hint)}", err=True)
    return EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_FAILURE


def warn(message: str, hint: str | None = None) -> None:
    """Writes `WARNING: …`, and the hint, to stderr."""
    typer.echo(f"WARNING: {redact(message)}", err=True)
    if hint:
        typer.echo(f"HINT: {redact(hint)}", err=True)
