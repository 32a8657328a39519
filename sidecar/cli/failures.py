"""`sidecar failures` and `sidecar retry`"""

from __future__ import annotations

import json
from dataclasses import asdict
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.database import open_database
from sidecar.cli.options import Columns, DatabaseUrl, Json, OptionalTable, Target
from sidecar.cli.output import print_json, shorten, show_wait
from sidecar.cli.tables import choose_columns, hang, is_for_people, print_facts, print_note, print_table

if TYPE_CHECKING:
    from sidecar.postgres.status import FailuresByReason

_COLUMNS = ("relation", "target", "key", "reason", "message", "attempts", "at")
_COLUMNS_BY_REASON = (
    *("relation", "target", "reason", "failures", "oldest", "newest", "example_key", "example_message", "advice"),
    *("rows_statement", "retry_statement"),
)


def failures(  # noqa: PLR0913 - one parameter for every option of the command
    table: OptionalTable = None,
    target: Target = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Show at most this many, newest first.")] = 100,
    by_reason: Annotated[
        bool,
        typer.Option(
            "--by-reason",
            help="For each reason: the number of rows, an example, what to do, and the query that finds the rows.",
        ),
    ] = False,
    columns: Columns = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List the rows that cannot be embedded, and why.

    \b
    Examples:
      sidecar failures --by-reason
      sidecar failures products --limit 20
    """
    choose_columns(columns, _COLUMNS_BY_REASON if by_reason else _COLUMNS)
    with open_database(database_url) as operations:
        if by_reason:
            _print_reasons(operations.failures_by_reason(table, target), columns, as_json=as_json)
            return
        found = operations.failures(table, target, limit)
    if as_json:
        print_json([{**asdict(failure), "key": json.loads(failure.key)} for failure in found])
        return
    if found or not is_for_people():
        print_table(
            _COLUMNS,
            [
                (f.relation, f.target, f.key, f.reason, f.message, f.attempts, f"{f.at:%Y-%m-%d %H:%M:%S}")
                for f in found
            ],
            columns,
        )
    if not found:
        print_note("No row has failed.")
    elif len(found) == limit:
        print_note(f"These are the newest {limit}; there may be more: --limit.")


def _print_reasons(found: list[FailuresByReason], columns: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json([{**asdict(reason), "example_key": json.loads(reason.example_key)} for reason in found])
        return
    if columns is not None:
        print_table(_COLUMNS_BY_REASON, [list(asdict(reason).values()) for reason in found], columns)
    elif not found:
        typer.echo("No row has failed.")
    for reason in found if columns is None else []:
        typer.echo(hang("", f"{reason.relation}.{reason.target}: {reason.failures:,} × {reason.reason}"))
        options = f"--target {quote(reason.target)} --reason {reason.reason}"
        facts = {
            "such as": shorten(f"{reason.example_key}: {reason.example_message}", 200),
            "to do": reason.advice,
            "rows": reason.rows_statement,
            "retry": reason.retry_statement and f"sidecar retry {quote(reason.relation)} {options}",
        }
        print_facts(facts, label_width=9)


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
    """Retry rows that could not be embedded.

    \b
    Examples:
      sidecar retry products --target photo_embedding --reason worker_crashed
      sidecar retry products --key '{"id": 7}'
      sidecar retry --all
    """
    _check_key(key)
    if everything and (target is not None or key is not None):
        raise typer.BadParameter("it cannot be combined with --target or --key", param_hint="--all")
    if not everything and table is None:
        raise typer.BadParameter("name one, or give --all", param_hint="TABLE")
    with open_database(database_url, "worker") as operations, show_wait("Retrying …"):
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
