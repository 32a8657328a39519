"""`sidecar pause`, `sidecar resume`, `sidecar rate` and `sidecar reembed`"""

from __future__ import annotations

import math
from shlex import quote
from typing import Annotated

import typer

from sidecar.cli.completion import complete_watched_table
from sidecar.cli.database import open_database
from sidecar.cli.options import DatabaseUrl, Json, OptionalTable, Table, Target
from sidecar.cli.output import echo, print_json
from sidecar.printable import on_one_line


def pause(
    table: OptionalTable = None, target: Target = None, as_json: Json = False, database_url: DatabaseUrl = None
) -> None:
    """Stop embedding one watch, a table, or all of them.

    Changes are recorded in the meantime.

    Example: sidecar pause products
    """
    _set_paused(table, target, True, as_json, database_url)


def resume(
    table: OptionalTable = None, target: Target = None, as_json: Json = False, database_url: DatabaseUrl = None
) -> None:
    """Resume what was paused.

    Example: sidecar resume products --target photo_embedding
    """
    _set_paused(table, target, False, as_json, database_url)


def rate(
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            help="The watched table, or `all`.",
            show_default=False,
            autocompletion=complete_watched_table,
        ),
    ],
    rows_per_s: Annotated[
        str,
        typer.Argument(
            metavar="ROWS_PER_S", help="A number such as 50 or 0.5, or `none` to lift the cap.", show_default=False
        ),
    ],
    target: Target = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Limit how many rows are embedded per second.

    Live changes and backfill count together, across all sidecars.

    \b
    Examples:
      sidecar rate products 50
      sidecar rate all none
    """
    cap = _parse_rate(rows_per_s)
    with open_database(database_url, "worker") as operations:
        changed = operations.set_rate(None if table == "all" else table, target, cap)
    if as_json:
        print_json({"table": table, "target": target, "rows_per_s": cap, "changed": changed})
    else:
        limit = "without a cap" if cap is None else f"at most {cap:g} rows a second"
        echo(f"{_count_watches(changed)} changed: {limit}.")


def reembed(
    table: Table,
    target: Target = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Move to this model id or fingerprint, or to `any`; old vectors are cleared first.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Embed all rows again, perhaps with another model.

    With another model the old vectors are cleared first: a column never holds vectors of two models.

    Example: sidecar reembed products --target photo_embedding
    """
    with open_database(database_url, "worker") as operations:
        relation, column = operations.reembed(table, target, model)
        watch = next((watch for watch in operations.status(table) if watch.target == column), None)
    if as_json:
        print_json({"relation": relation, "target": column, "model": model})
    else:
        started = f"All rows of {relation}.{column} will be embedded again."
        echo(on_one_line(f"{started} Follow it: sidecar status {quote(table)} --follow"))
        if watch is not None and watch.is_idle:
            echo(f"Nothing happens for now. State of the watch: {watch.state}")


def _set_paused(table: str | None, target: str | None, paused: bool, as_json: bool, database_url: str | None) -> None:
    with open_database(database_url, "worker") as operations:
        changed = operations.set_paused(table, target, paused=paused)
    if as_json:
        print_json({"table": table, "target": target, "paused": paused, "changed": changed})
    elif changed == 0:
        echo(f"No watch changed: none was {'running' if paused else 'paused'}.")
    else:
        echo(f"{_count_watches(changed)} {'paused' if paused else 'resumed'}.")


def _count_watches(watches: int) -> str:
    return f"{watches} {'watch' if watches == 1 else 'watches'}"


def _parse_rate(text: str) -> float | None:
    """Rows per second; None for `none`. Raises BadParameter."""
    if text == "none":
        return None
    try:
        cap = float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} is neither a number nor `none`", param_hint="ROWS_PER_S") from error
    if not 0 < cap < math.inf:
        advice = "a number above 0 (0.5 is a row every two seconds), or `none`; `sidecar pause` stops a watch"
        raise typer.BadParameter(f"{text} is not {advice}", param_hint="ROWS_PER_S")
    return cap
