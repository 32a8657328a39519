"""`sidecar status`"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from math import floor
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.database import open_database
from sidecar.cli.options import Columns, DatabaseUrl, Json, OptionalTable, Target
from sidecar.cli.output import echo, print_json
from sidecar.cli.tables import choose_columns, hang, print_facts, print_table

if TYPE_CHECKING:
    from sidecar.postgres.status import Health, WatchStatus

_COLOURS: Mapping[Health, str] = {"ok": "green", "working": "cyan", "warning": "yellow", "problem": "red"}

_COLUMNS = (
    *("relation", "target", "kind", "source", "companion", "state", "health", "rows", "embedded", "pending", "failed"),
    *("empty", "truncated", "unreadable", "outdated", "retrying", "coverage", "oldest_pending_s", "lag_ms", "index"),
    *("model", "fingerprint", "query", "estimated", "watch_id", "index_statement", "rows_per_s", "companion_view"),
    *("storage", "recall", "recall_k", "recall_ef_search", "recall_at", "recall_setting"),
)


def status(  # noqa: PLR0913 - one parameter for every option of the command
    table: OptionalTable = None,
    target: Target = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show progress, rate and time left, until Ctrl-C.")
    ] = False,
    until_embedded: Annotated[
        bool,
        typer.Option(
            "--until-embedded", help="Like --follow, but end once nothing is pending and all indexes are built."
        ),
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Count the rows of large tables too; that can take a while.")
    ] = False,
    columns: Columns = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show what is watched and how far it has got. Of a large table the counts are estimates.

    With --columns it is a table of the watches, whose columns are those of --json.

    \b
    Examples:
      sidecar status --follow
      sidecar status products --until-embedded && echo ready
      sidecar status --columns relation,target,health,pending,failed
    """
    choose_columns(columns, _COLUMNS)
    if follow or until_embedded:
        from sidecar.cli.follow import Followed, follow_progress

        followed = Followed(table, target, exact, until_embedded)
        follow_progress(partial(open_database, database_url), followed, as_json=as_json)
        return
    with open_database(database_url) as operations:
        watches = operations.status(table, target, exact=exact)
    if as_json:
        print_json(watches)
        return
    if columns is not None:
        print_table(_COLUMNS, [[getattr(watch, name) for name in _COLUMNS] for watch in watches], columns)
        return
    from sidecar.postgres.status_summary import summarize

    summary = summarize(watches)
    echo(hang("", summary.text), _COLOURS[summary.health])
    if not watches:
        typer.echo("Start with: sidecar watch TABLE --source COLUMN")
    for watch in watches:
        typer.echo()
        _print_watch(watch)


def _print_watch(watch: WatchStatus) -> None:
    echo(hang("", f"{watch.name}: {watch.state}"), _COLOURS[watch.health])
    facts: dict[str, str | None] = {
        "source": f"{', '.join(watch.source)} ({watch.kind})",
        "vectors": _describe_vectors(watch),
        "rows": _describe_rows(watch),
        "oldest": _describe_oldest(watch),
        "failed": _describe_failed(watch),
        "truncated": _describe_texts(watch, watch.truncated, "longer than the model reads", "--truncated"),
        "unreadable": _describe_texts(watch, watch.unreadable, "in words that the model does not know", "--unreadable"),
        "rate": None if watch.rows_per_s is None else f"at most {watch.rows_per_s:g} rows a second",
        "index": watch.index,
        "recall": _describe_recall(watch),
        "build": _describe_build(watch),
        "model": watch.model or "none yet",
    }
    notable = ["failed", "truncated", "unreadable", *(["index"] if _lacks_index(watch) else [])]
    print_facts(facts, label_width=11, colours=dict.fromkeys(notable, _COLOURS["warning"]))


def _describe_oldest(watch: WatchStatus) -> str | None:
    seconds = watch.oldest_pending_s
    return f"waiting for {timedelta(seconds=round(seconds))}" if seconds else None


def _describe_vectors(watch: WatchStatus) -> str | None:
    parts = [
        *([f"as {watch.storage}"] if watch.storage != "vector" else []),
        *([f"in table {watch.companion}"] if watch.companion else []),
        *([f"joined in view {watch.companion_view}"] if watch.companion and watch.companion_view else []),
    ]
    return ", ".join(parts) or None


def _describe_recall(watch: WatchStatus) -> str | None:
    if watch.recall is None or watch.recall_at is None:
        return None
    found = f"{floor(1000 * watch.recall) / 10:g} % of the {watch.recall_k} nearest"
    effort = f" with {watch.recall_setting} = {watch.recall_ef_search}" if watch.recall_setting else ""
    return f"{found}{effort}, measured {watch.recall_at:%Y-%m-%d}"


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


def _lacks_index(watch: WatchStatus) -> bool:
    return (watch.index or "").startswith(("building failed", "invalid"))


def _describe_rows(watch: WatchStatus) -> str | None:
    if watch.rows is None:  # the table is gone
        return None
    counts = [f"{watch.up_to_date:,} embedded{_describe_share(watch)}", f"{watch.pending or 0:,} pending"]
    if watch.outdated:
        some = (
            "their former vectors" if watch.outdated == watch.pending else f"the former vectors of {watch.outdated:,}"
        )
        counts[-1] += f" (searches use {some} until then)"
    counts += [f"{watch.failed:,} failed"] if watch.failed else []
    counts += [f"{watch.empty:,} empty"] if watch.empty else []
    return f"{'about ' if watch.estimated else ''}{watch.rows:,}: {', '.join(counts)}"


def _describe_share(watch: WatchStatus) -> str:
    """How many of the rows with content are embedded: never 100 % while one is not."""
    with_content = (watch.rows or 0) - watch.empty
    if with_content <= 0:
        return ""
    return f" ({floor(1000 * min(watch.up_to_date / with_content, 1)) / 10:g} %)"


def _describe_failed(watch: WatchStatus) -> str | None:
    if not watch.failed:
        return None
    again = f", {watch.retrying:,} being tried again" if watch.retrying else ""
    return f"{_count_of(watch.failed, 'row')}{again}: sidecar failures {name_as_arguments(watch)}"


def _describe_texts(watch: WatchStatus, number: int, what: str, option: str) -> str | None:
    if not number:
        return None
    verb = "is" if number == 1 else "are"
    return f"{_count_of(number, 'text')} {verb} {what}: sidecar texts {name_as_arguments(watch)} {option}"


def _count_of(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def name_as_arguments(watch: WatchStatus) -> str:
    """The table and column of a watch as a command takes them."""
    return f"{quote(watch.relation)} --target {quote(watch.target)}"
