"""`sidecar status`"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.database import open_database
from sidecar.cli.options import DatabaseUrl, Json, OptionalTable
from sidecar.cli.output import print_json

if TYPE_CHECKING:
    from sidecar.postgres.status import WatchStatus


def status(
    table: OptionalTable = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show progress, rate and time left, until Ctrl-C.")
    ] = False,
    until_embedded: Annotated[
        bool,
        typer.Option("--until-embedded", help="As --follow, and end when nothing is pending and every index stands."),
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Count the rows of large tables too; that can take long.")
    ] = False,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show what is watched and how far it has got. Of a large table the counts are estimates.

    \b
    Examples:
      sidecar status --follow
      sidecar status products --until-embedded && echo ready
      sidecar status products --json
    """
    with open_database(database_url) as operations:
        if follow or until_embedded:
            from sidecar.cli.follow import follow_progress

            follow_progress(operations, table, exact=exact, until_embedded=until_embedded, as_json=as_json)
            return
        watches = operations.status(table, exact=exact)
    if as_json:
        print_json(watches)
    elif not watches:
        typer.echo("Nothing is watched yet. Start with: sidecar watch TABLE --source COLUMN")
    else:
        for watch in watches:
            _print_watch(watch)


def _print_watch(watch: WatchStatus) -> None:
    facts = {
        "source": f"{', '.join(watch.source)} ({watch.kind})",
        "vectors": _describe_companion(watch),
        "rows": _describe_rows(watch),
        "oldest": watch.oldest_pending_s and f"waiting for {timedelta(seconds=round(watch.oldest_pending_s))}",
        "failed": watch.failed and f"{watch.failed:,}: sidecar failures {watch.relation}",
        "rate": watch.rows_per_s and f"at most {watch.rows_per_s:g} rows a second",
        "index": watch.index,
        "build": _describe_build(watch),
        "model": watch.model or "none yet",
    }
    typer.echo(f"{watch.name}: {watch.state}")
    for name, fact in facts.items():
        if fact:
            typer.echo(f"    {name:<8}{fact}")


def _describe_companion(watch: WatchStatus) -> str | None:
    if watch.companion is None:
        return None
    return f"in table {watch.companion}" + (f", joined in view {watch.companion_view}" if watch.companion_view else "")


def _describe_build(watch: WatchStatus) -> str | None:
    """The statement that builds the index, for an owner to run if the sidecar may not.

    Shown when the build is due: there are vectors and nothing is pending.
    """
    if (
        watch.index_statement is None
        or watch.is_broken
        or watch.pending
        or not watch.embedded
        or (watch.index or "").startswith("building")
    ):
        return None
    return f"{watch.index_statement.replace(chr(10), ' ')};"


def _describe_rows(watch: WatchStatus) -> str | None:
    if watch.rows is None:  # the table is gone
        return None
    done = "" if watch.coverage is None else f" ({watch.coverage:g} %)"
    counts = [f"{watch.embedded:,} embedded{done}", f"{watch.pending or 0:,} pending"]
    counts += [f"{watch.empty:,} empty"] if watch.empty else []
    return f"{'about ' if watch.estimated else ''}{watch.rows:,}: {', '.join(counts)}"
