"""`sidecar failures` and `sidecar retry`"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from sidecar.cli.database import open_database
from sidecar.cli.options import DatabaseUrl, Json, OptionalTable, Table, Target
from sidecar.cli.output import make_console, print_json, print_table


def failures(
    table: OptionalTable = None,
    target: Target = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")] = 100,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List the rows that cannot be embedded, and why.

    Example: sidecar failures products --limit 20
    """
    with open_database(database_url) as operations:
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


def retry(
    table: Table,
    target: Target = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="""Only the row with this key: '{"id": 7}'.""", show_default=False),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="CODE", help="Only rows that failed for this reason.", show_default=False)
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Try rows again that could not be embedded.

    \b
    Examples:
      sidecar retry products --target photo_embedding --reason worker_crashed
      sidecar retry products --key '{"id": 7}'
    """
    _check_key(key)
    with open_database(database_url) as operations, make_console().status(f"Retrying {table} …"):
        enqueued = operations.retry(table, target, key=key, reason=reason)
    typer.echo(f"{enqueued} {'row' if enqueued == 1 else 'rows'} will be tried again.")


def _check_key(key: str | None) -> None:
    try:
        valid = key is None or isinstance(json.loads(key), dict)
    except ValueError:
        valid = False
    if not valid:
        raise typer.BadParameter(f"""{key} is not a JSON object such as '{{"id": 7}}'""", param_hint="--key")
