"""Which of a table's watches a search is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sidecar.operations.operations import Operations


def choose_target(operations: Operations, table: str, target: str | None) -> str | None:
    """`target`, else the only one of pictures where the table has several watches: texts and pictures find pictures.

    The choice is told on stderr. None where there is nothing to choose, or nothing tells the watches apart, which the
    server then says.
    """
    if target is not None:
        return target
    watches = operations.status(table)
    of_pictures = [watch for watch in watches if watch.kind == "image"]
    if len(watches) == 1 or len(of_pictures) != 1:
        return None
    chosen = of_pictures[0]
    others = " or ".join(watch.target for watch in watches if watch is not chosen)
    so_far = f", {chosen.embedded:,} of {chosen.rows:,} rows so far" if chosen.pending else ""
    typer.echo(f"Searching {table}.{chosen.target}{so_far}; for another: --target {others}", err=True)
    return chosen.target
