"""`sidecar failures` and `sidecar retry`"""

from __future__ import annotations

import json
from dataclasses import asdict
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.database import open_database
from sidecar.cli.options import DatabaseUrl, Json, OptionalTable, Target
from sidecar.cli.output import make_console, print_json, print_table, shorten

if TYPE_CHECKING:
    from sidecar.postgres.status import FailuresByReason


def failures(
    table: OptionalTable = None,
    target: Target = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most, the newest first.")] = 100,
    by_reason: Annotated[
        bool,
        typer.Option(
            "--by-reason", help="For each reason: how many, an example, what to do, and the query that finds the rows."
        ),
    ] = False,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List the rows that cannot be embedded, and why.

    \b
    Examples:
      sidecar failures --by-reason
      sidecar failures products --limit 20
    """
    with open_database(database_url) as operations:
        if by_reason:
            _print_reasons(operations.failures_by_reason(table, target), as_json=as_json)
            return
        found = operations.failures(table, target, limit)
    if as_json:
        print_json([{**asdict(failure), "key": json.loads(failure.key)} for failure in found])
    elif not found:
        typer.echo("No row has failed.")
    else:
        print_table(
            ["watch", "key", "reason", "message", "attempts", "at"],
            [
                (f"{f.relation}.{f.target}", f.key, f.reason, f.message, f.attempts, f"{f.at:%Y-%m-%d %H:%M:%S}")
                for f in found
            ],
        )
        if len(found) == limit:
            typer.echo(f"These are the newest {limit}; there may be more: --limit.")


def _print_reasons(found: list[FailuresByReason], *, as_json: bool) -> None:
    if as_json:
        print_json([{**asdict(reason), "example_key": json.loads(reason.example_key)} for reason in found])
    elif not found:
        typer.echo("No row has failed.")
    for reason in [] if as_json else found:
        typer.echo(f"{reason.relation}.{reason.target}: {reason.failures:,} × {reason.reason}")
        typer.echo(f"    such as  {shorten(f'{reason.example_key}: {reason.example_message}', 200)}")
        typer.echo(f"    to do    {reason.advice}")
        if reason.rows_statement:
            typer.echo(f"    rows     {reason.rows_statement}")
        if reason.retry_statement:
            options = f"--target {quote(reason.target)} --reason {reason.reason}"
            typer.echo(f"    retry    sidecar retry {quote(reason.relation)} {options}")


def retry(  # noqa: PLR0913 - one parameter for every option of the command
    table: OptionalTable = None,
    target: Target = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="""Only the row with this key: '{"id": 7}'.""", show_default=False),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="CODE", help="Only rows that failed for this reason.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All watches, or all of the table.")] = False,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Try rows again that could not be embedded.

    \b
    Examples:
      sidecar retry products --target photo_embedding --reason worker_crashed
      sidecar retry products --key '{"id": 7}'
      sidecar retry --all
    """
    _check_key(key)
    if everything and (target is not None or key is not None):
        raise typer.BadParameter("it goes with neither --target nor --key", param_hint="--all")
    if not everything and table is None:
        raise typer.BadParameter("name one, or give --all", param_hint="TABLE")
    with open_database(database_url, "worker") as operations, make_console(stderr=True).status("Retrying …"):
        if everything:
            enqueued = operations.retry_all(table, reason=reason)
        else:
            enqueued = operations.retry(table or "", target, key=key, reason=reason)
    if as_json:
        print_json({"table": table, "target": target, "reason": reason, "enqueued": enqueued})
    else:
        typer.echo(f"{enqueued} {'row' if enqueued == 1 else 'rows'} will be tried again.")


def _check_key(key: str | None) -> None:
    try:
        valid = key is None or isinstance(json.loads(key), dict)
    except ValueError:
        valid = False
    if not valid:
        raise typer.BadParameter(f"""{key} is not a JSON object such as '{{"id": 7}}'""", param_hint="--key")
