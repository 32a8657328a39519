"""`sidecar status`"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.database import open_database
from sidecar.cli.options import DatabaseUrl, Json, OptionalTable
from sidecar.cli.output import print_json, print_table

if TYPE_CHECKING:
    from sidecar.postgres.status import WatchStatus


def status(
    table: OptionalTable = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show progress, rate and time left, until Ctrl-C.")
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Count the rows of large tables too; that can take long.")
    ] = False,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show what is watched and how far it has got. Counts marked with ~ are the planner's estimates.

    \b
    Examples:
      sidecar status --follow
      sidecar status products --json
    """
    with open_database(database_url) as operations:
        if follow:
            from sidecar.cli.follow import follow_progress

            follow_progress(lambda: operations.status(table, exact=exact), as_json=as_json)
            return
        watches = operations.status(table, exact=exact)
    if as_json:
        print_json(watches)
    elif not watches:
        typer.echo("Nothing is watched yet. Start with: sidecar watch TABLE --source COLUMN")
    else:
        _print_watches(watches)


def _print_watches(watches: list[WatchStatus]) -> None:
    print_table(
        [
            "table",
            "target",
            "kind",
            "rows",
            "embedded",
            "pending",
            "failed",
            "empty",
            "done",
            "oldest",
            "index",
            "state",
        ],
        [
            (
                watch.relation,
                watch.target,
                watch.kind,
                f"~{watch.rows}" if watch.estimated else watch.rows,
                watch.embedded,
                watch.pending,
                watch.failed,
                watch.empty,
                None if watch.coverage is None else f"{watch.coverage:g} %",
                None if watch.oldest_pending_s is None else str(timedelta(seconds=round(watch.oldest_pending_s))),
                watch.index,
                watch.state,
            )
            for watch in watches
        ],
    )
    for watch in watches:
        if watch.failed:
            typer.echo(f"{watch.failed} of {watch.relation}.{watch.target} failed: sidecar failures {watch.relation}")
