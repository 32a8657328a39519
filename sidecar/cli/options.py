"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from sidecar.cli.completion import complete_table, complete_target, complete_watched_table

Table: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="The watched table, as in SQL: products, shop.products.",
        show_default=False,
        autocompletion=complete_watched_table,
    ),
]
AnyTable: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="The table, as in SQL: products, shop.products.",
        show_default=False,
        autocompletion=complete_table,
    ),
]
OptionalTable: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="TABLE",
        help="Only the watches of this table.",
        show_default=False,
        autocompletion=complete_watched_table,
    ),
]
Target: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="The vector column, if the table has several watches.",
        show_default=False,
        autocompletion=complete_target,
    ),
]
Columns: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="A,B,…", help="Show only these columns, in this order.", show_default=False),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DatabaseUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The database. Default: DATABASE_URL. Others on this machine can see passwords on a command line.",
        show_default=False,
    ),
]
