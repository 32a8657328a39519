"""`sidecar texts`"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sidecar.cli.database import open_database
from sidecar.cli.options import Columns, DatabaseUrl, Json, Table, Target
from sidecar.cli.output import print_json
from sidecar.cli.tables import choose_columns, is_for_people, print_note, print_table

_COLUMNS = ("key", "embedded_at")


def texts(  # noqa: PLR0913 - one parameter for every option of the command
    table: Table,
    target: Target = None,
    truncated: Annotated[
        bool, typer.Option("--truncated", help="Longer than the model reads: the end does not affect the vector.")
    ] = False,
    unreadable: Annotated[
        bool, typer.Option("--unreadable", help="In words that the model's tokenizer does not know.")
    ] = False,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=2**31 - 1, help="Show at most this many, in the order of the key.")
    ] = 100,
    columns: Columns = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List the rows whose text the model reads only in part.

    In SQL: sidecar.truncated_texts, unreadable_texts.

    \b
    Examples:
      sidecar texts articles --truncated
      sidecar texts articles --unreadable --limit 1000 --json
    """
    if truncated == unreadable:
        raise typer.BadParameter("give one of the two", param_hint="--truncated, --unreadable")
    choose_columns(columns, _COLUMNS)
    with open_database(database_url, "worker") as operations:
        list_texts = operations.truncated_texts if truncated else operations.unreadable_texts
        found = list_texts(table, target, limit)
    if as_json:
        print_json([{"key": json.loads(text.key), "embedded_at": text.embedded_at} for text in found])
        return
    if found or not is_for_people():
        print_table(_COLUMNS, [(text.key, f"{text.embedded_at:%Y-%m-%d %H:%M:%S}") for text in found], columns)
    if not found:
        print_note("No text is longer than the model reads." if truncated else "No text is unreadable to the model.")
    elif len(found) == limit:
        print_note(f"These are the first {limit}; there may be more: --limit.")
