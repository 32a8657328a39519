"""`sidecar watch` and `sidecar unwatch`"""

from __future__ import annotations

from enum import StrEnum
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.completion import complete_column
from sidecar.cli.database import open_database
from sidecar.cli.options import AnyTable, DatabaseUrl, Json, Table, Target
from sidecar.cli.output import echo, print_json, show_wait
from sidecar.operations.planning.estimate import describe_long_texts
from sidecar.printable import on_one_line

if TYPE_CHECKING:
    from sidecar.operations.operations import Remains
    from sidecar.postgres.status import WatchStatus


class Kind(StrEnum):
    """The kind of content in a source column."""

    TEXT = "text"
    IMAGE = "image"


class Storage(StrEnum):
    """The type of the vectors in the table."""

    VECTOR = "vector"
    HALFVEC = "halfvec"


def watch(  # noqa: PLR0913 - one parameter for every option of the command
    table: AnyTable,
    source: Annotated[
        list[str],
        typer.Option(
            metavar="COLUMN",
            help="A text column (several are joined), or a bytea column that holds pictures.",
            autocompletion=complete_column,
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The vector column; added if missing. Default: SOURCE_embedding."),
    ] = None,
    kind: Annotated[Kind | None, typer.Option(help="Default: by the column's type.")] = None,
    companion: Annotated[
        str | None, typer.Option(metavar="TABLE", help="Keep the vectors in this table, which is created if missing.")
    ] = None,
    index: Annotated[
        str,
        typer.Option(
            metavar="INDEX",
            help="hnsw (on halfvec, or vector), ivfflat, vchordrq, diskann, none, or 'using …' as in create index.",
        ),
    ] = "halfvec",
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Only a sidecar with this model id or fingerprint may embed the rows."),
    ] = None,
    dimensions: Annotated[
        int, typer.Option(metavar="N", min=1, max=16000, help="Length of the model's vectors.")
    ] = 1152,
    expose: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN", help="Searches over REST may show this column and filter by it. May be repeated."
        ),
    ] = None,
    storage: Annotated[
        Storage | None,
        typer.Option(
            help="Type of the vector column; halfvec takes half the space. Default: as an existing column, else vector."
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change a watch that exists.")] = False,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Keep a vector column up to date with texts or pictures.

    Repeating the command changes nothing.

    \b
    Examples:
      sidecar watch products --source photo
      sidecar watch products --source title --source brand --target title_embedding
      sidecar watch products --source photo --expose title --expose price --replace
      sidecar watch products --source photo --index 'using hnsw with (m = 24)' --replace
    """
    from sidecar.operations.operations import WatchRequest

    request = WatchRequest(
        *(table, source, target, kind, companion, index, model, dimensions, replace, expose or [], storage)
    )
    with open_database(database_url, "installer", table) as operations, show_wait(f"Watching {table} …"):
        watched = operations.watch(request)
        sampled_bytes = [] if as_json or watched.kind != "text" else operations.sample_sizes(watched.watch_id)
    if as_json:
        print_json(watched)
        return
    echo(_describe_watch(watched))
    if (long_texts := describe_long_texts(sampled_bytes)) is not None:
        counted = f"sidecar status {quote(watched.relation)} counts them when they are embedded"
        echo(f"Of a sample {long_texts}: the end does not affect the vector; {counted}.", "yellow")


def unwatch(
    table: Table,
    target: Target = None,
    drop_target: Annotated[
        bool, typer.Option("--drop-target", help="Delete the vectors too: the column, or the companion table.")
    ] = False,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """End a watch; its vectors stay.

    They are used again when the watch is started again.

    What remains is listed with the statement that removes it. --drop-target also works after the watch has ended.

    \b
    Examples:
      sidecar unwatch products --target photo_embedding
      sidecar unwatch products --target photo_embedding --drop-target
    """
    with open_database(database_url, "installer", table) as operations, show_wait(f"Unwatching {table} …"):
        ended = operations.unwatch(table, target, drop_target=drop_target)
    vectors = "deleted" if drop_target else "kept"
    if as_json:
        print_json(
            {"relation": ended.relation, "target": ended.target, "vectors": vectors, "remains": ended.remains},
        )
        return
    echo(on_one_line(f"{ended.relation}.{ended.target}") + f" is no longer watched. Its vectors are {vectors}.")
    if ended.remains:
        echo(f"What remains, and how to remove it:\n{describe_remains(ended.remains)}")
    if ended.remains and not drop_target:
        command = f"sidecar unwatch {quote(table)} --target {quote(ended.target)} --drop-target"
        echo(f"Or delete the vectors and their index: {command}")


def describe_remains(remains: list[Remains]) -> str:
    """Two lines for each: a thing that stays, and the statement that removes it."""
    return "\n".join(f"  {each.what}\n    {each.statement}" for each in remains)


def _describe_watch(watched: WatchStatus) -> str:
    where = f"{watched.companion}.{watched.target}" if watched.companion else watched.target
    lines = [
        on_one_line(f"Watching {watched.relation}: {', '.join(watched.source)} → {where} ({watched.kind})."),
        f"{watched.pending} of {'about ' if watched.estimated else ''}{watched.rows} rows are waiting to be embedded.",
    ]
    if watched.state == "no sidecar is running":
        lines.append("No sidecar is running on this database. Start one: sidecar serve")
    if watched.companion_view:
        lines.append(f"The view {watched.companion_view} joins the rows and their vectors.")
    lines += ["To search, with a query vector from the service as $1:", f"  {watched.query}"]
    return "\n".join(lines)
