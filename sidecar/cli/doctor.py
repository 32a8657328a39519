"""`sidecar doctor`"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.database import find_database_url, find_direct_url
from sidecar.cli.errors import EXIT_FINDINGS
from sidecar.cli.options import DatabaseUrl, Json
from sidecar.cli.output import echo, print_json, shorten, show_wait
from sidecar.cli.tables import hang

if TYPE_CHECKING:
    from sidecar.operations.findings import Checkup, Finding, Severity

_SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "note")


def doctor(
    long_transaction_s: Annotated[
        float, typer.Option(metavar="S", min=0, help="Age from which an open transaction is reported.")
    ] = 300,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Find faults in the setup, and say how to fix them.

    It looks at the database and the way to it, and changes nothing.

    Exit code: 0 nothing found but notes, 3 problems or warnings, 1 it could not look. What the role may not see is told
    as not checked.

    Example: sidecar doctor --json
    """
    from sidecar.operations.checkup import examine
    from sidecar.operations.findings import Limits

    url = find_database_url(database_url)
    with show_wait("Looking …"):
        checkup = examine(url, find_direct_url(database_url), Limits(long_transaction_s=long_transaction_s))
    if as_json:
        print_json(asdict(checkup))
    else:
        _print_checkup(checkup)
    if any(finding.severity != "note" for finding in checkup.findings):
        raise typer.Exit(EXIT_FINDINGS)


def _print_checkup(checkup: Checkup) -> None:
    typer.echo(hang("", _describe_database(checkup)))
    for finding in checkup.findings:
        _print_finding(finding)
    for reason, missed in groupby(checkup.not_checked, lambda missed: missed.reason):
        checks = ", ".join(each.check for each in missed)
        typer.echo(hang("not checked  ", f"{checks}: {shorten(reason, 200)}"))
    counts = Counter(finding.severity for finding in checkup.findings)
    found = ", ".join(f"{counts[s]} {s}{'s' if counts[s] > 1 else ''}" for s in _SEVERITIES if counts[s])
    nothing = "No problems found in what this role may look at." if checkup.not_checked else "No problems found."
    echo(f"Found: {found}." if found else nothing)


def _describe_database(checkup: Checkup) -> str:
    facts = checkup.facts
    pgvector = (
        f"pgvector {facts['pgvector']} in schema {facts['pgvector_schema']}" if facts["pgvector"] else "no pgvector"
    )
    is_hidden = any(missed.check == "migrations" for missed in checkup.not_checked)
    revision = facts.get("schema_revision") or ("a revision that this role may not see" if is_hidden else None)
    schema = f"schema sidecar at {revision}" if revision else "no schema sidecar"
    parts = [f"PostgreSQL {facts['server']}", pgvector, schema]
    if facts.get("pooler"):
        parts.append("through a pooler in transaction mode")
    if facts.get("notified_ms") is not None:
        parts.append(f"notified in {facts['notified_ms']} ms")
    return ", ".join(parts)


def _print_finding(finding: Finding) -> None:
    typer.echo(hang("", f"{finding.severity.upper()}  {finding.check}: {shorten(_headline(finding), 400)}"))
    typer.echo(hang("    why    ", shorten(finding.why, 400)))
    for line in finding.remedy.split("\n"):
        echo(f"    {finding.run_in:<6} {line}")


def _headline(finding: Finding) -> str:
    return finding.what if finding.subject == finding.check else f"{finding.subject}: {finding.what}"
