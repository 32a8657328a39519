"""Which of a table's watches a search is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sidecar.postgres.operations import Operations


def choose_target(operations: Operations, table: str, target: str | None) -> str | None:
    """`target`, else the only one of pictures where the table has several watches: texts and pictures find pictures.

    The choice is told on stderr. None where there is nothing to choose, or nothing tells the watches apart, which the
    server then says.
    """
    if target is not None:
        return target
    watches = operations.status(table)
    of_pictures = [watch.target for watch in watches if watch.kind == "image"]
    if len(watches) == 1 or len(of_pictures) != 1:
        return None
    others = " or ".join(watch.target for watch in watches if watch.target not in of_pictures)
    typer.echo(f"Searching {table}.{of_pictures[0]}; for another: --target {others}", err=True)
    return of_pictures[0]
