"""Finds the watch that a search names, and checks that it allows the search."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.errors import InputError
from sidecar.http.models import ModelInfo
from sidecar.http.search.bodies import SearchBody
from sidecar.http.search.filters import FilteredColumn, check_filter
from sidecar.http.search.grant import Grant
from sidecar.postgres.database import Database
from sidecar.postgres.search import SearchedWatch, find_watches, list_watched
from sidecar.similarity import did_you_mean, most_similar


async def find_watch(database: Database, table: str, target: str | None, grant: Grant) -> SearchedWatch:
    """The one watch that matches, with the filter that the key forces on it.

    Raises InputError: `unknown_watch` if there is none, even if the table exists, or `ambiguous_watch`; AccessDenied if
    the key does not permit to search it, or its filter cannot be applied.
    """
    watch = await _find_permitted(database, table, target, grant)
    grant.check_filter(watch)
    return watch


async def _find_permitted(database: Database, table: str, target: str | None, grant: Grant) -> SearchedWatch:
    grant.check_name(table)
    found = grant.restrict([] if "\0" in table else await find_watches(database, table))
    if not found:
        raise await _unknown_table(database, table)
    if len({watch.relation for watch in found}) > 1:
        names = ", ".join(sorted({watch.table_name for watch in found}))
        raise InputError("ambiguous_watch", f"`table` may be {names}: name its schema.", "table")
    targets = ", ".join(watch.target for watch in found)
    if target is not None:
        found = [watch for watch in found if watch.target == target]
        if not found:
            message = f"{table[:200]!r} has no watch with the target {target[:200]!r}. Its targets: {targets}."
            similar = did_you_mean(target[:200], targets.split(", "), "{!r}")
            raise InputError("unknown_watch", message + similar, "target")
    if len(found) > 1:
        raise InputError("ambiguous_watch", f"`target` may be {targets}: name one.", "target")
    return found[0]


async def _unknown_table(database: Database, table: str) -> InputError:
    """Names the watched table that is meant, if the words resemble one or are a watch, table.target."""
    message = f"No table {table[:200]!r} is watched."
    watched = await list_watched(database)
    for name, target in watched:
        if table in {f"{name}.{target}", f"{name.partition('.')[2]}.{target}"}:
            named = table.removesuffix(f".{target}")
            message += f" It is the name of a watch: give `table` {named!r}, `target` {target!r}."
            return InputError("unknown_watch", message, "table")
    names = {name.partition(".")[2]: name for name, _ in watched}
    wanted = table[:200].rpartition(".")[2].strip('"')
    similar = most_similar(wanted, names)
    if similar is not None:
        message += f" Did you mean {names[similar]!r}?"
    return InputError("unknown_watch", message, "table")


def check_model(watch: SearchedWatch, model: ModelInfo) -> None:
    """Raises InputError (`other_model`) if the watch's vectors are not of `model`: distances would mean nothing."""
    if watch.fingerprint not in {None, model.fingerprint} or watch.dimensions != model.dim:
        theirs = f"{watch.model} ({watch.fingerprint})" if watch.fingerprint else f"{watch.dimensions} dimensions"
        message = (
            f"The vectors of {watch.table_name}.{watch.target} are of another model, {theirs}; this service runs "
            f"{model.id} ({model.fingerprint}). Ask a service that runs theirs, or have the table embedded again."
        )
        raise InputError("other_model", message, "table")


def check_columns(watch: SearchedWatch, body: SearchBody) -> None:
    """Checks the columns that the search returns and filters by.

    Raises InputError: `column_not_exposed`, `column_gone`, `duplicate_column`, `column_not_comparable`,
    `invalid_filter`.
    """
    named: set[str] = set()
    for index, name in enumerate(body.columns or []):
        _check_exposed(watch, name, f"columns[{index}]")
        if name in named:
            raise InputError("duplicate_column", f"`columns[{index}]` names {name!r} again.", f"columns[{index}]")
        named.add(name)
    for column in check_filter(body.filter):
        _check_no_operator(watch, column)
        _check_exposed(watch, column.name, column.path)
        if column.name in watch.incomparable:
            message = (
                f"`{column.path[:200]}`: column {column.name!r} has the type {watch.incomparable[column.name]}, which "
                "a filter cannot compare; it compares built-in scalar types, enums, arrays of built-in types and jsonb."
            )
            raise InputError("column_not_comparable", message, column.path)


def rerank_columns(watch: SearchedWatch, column: str | None) -> Sequence[str]:
    """The columns with the text to rank by: `column`, or what a watch of texts embeds.

    Raises InputError (`rerank_needs_column`) if the watch embeds pictures and `column` is None.
    """
    if column is not None:
        if column not in watch.source or watch.kind != "text":
            _check_exposed(watch, column, "rerank.column")
        return [column]
    if watch.kind != "text":
        message = f"{watch.table_name}.{watch.target} holds pictures: name an exposed text column to rank by."
        raise InputError("rerank_needs_column", message, "rerank.column")
    return watch.source


def word_columns(watch: SearchedWatch, columns: Sequence[str] | None) -> Sequence[str]:
    """The columns to match words in: those named, or what a watch of texts embeds, if all of it is exposed.

    Words that match tell what is in a column, so it has to be exposed. Raises InputError: `column_not_exposed`,
    `column_gone`, `hybrid_needs_columns`.
    """
    for index, name in enumerate(columns or ()):
        _check_exposed(watch, name, f"hybrid.columns[{index}]")
    if columns is not None:
        return columns
    if watch.kind == "text" and set(watch.source) <= {*watch.key_columns, *watch.exposed}:
        return watch.source
    why = "embeds columns that are not exposed" if watch.kind == "text" else "holds pictures"
    message = (
        f"{watch.table_name}.{watch.target} {why}: name exposed text columns to match words in, or one "
        "exposed tsvector column."
    )
    raise InputError("hybrid_needs_columns", message, "hybrid.columns")


def warnings_of(watch: SearchedWatch) -> list[str]:
    """Reasons why results of this watch may be incomplete or out of date."""
    warnings = []
    if watch.fingerprint is None:
        warnings.append("The watch holds no vectors yet.")
    if watch.paused:
        warnings.append("The watch is paused: rows that have changed since are found by their old content.")
    if watch.broken:
        warnings.append(f"The watch is broken, so its vectors may be out of date: {watch.broken}")
    if watch.gone:
        warnings.append(f"Exposed columns that no longer exist: {', '.join(watch.gone)}.")
    return warnings


def _check_no_operator(watch: SearchedWatch, column: FilteredColumn) -> None:
    if column.name.startswith("$") and column.name not in (*watch.key_columns, *watch.exposed, *watch.gone):
        message = (
            f"`{column.path[:200]}`: there is no such operator here, only $and, $or and $not. Others belong to a "
            'column: {"price": {"$gte": 10}}.'
        )
        raise InputError("invalid_filter", message, column.path)


def _check_exposed(watch: SearchedWatch, name: str, param: str) -> None:
    if name in watch.gone:
        message = f"`{param}`: column {name!r} was exposed, but no longer exists: it was renamed or dropped."
        raise InputError("column_gone", message, param)
    if name not in (*watch.key_columns, *watch.exposed):
        message = (
            f"`{param}`: the watch does not expose a column {name[:200]!r}. Key and exposed columns are "
            f"{', '.join((*watch.key_columns, *watch.exposed))}; "
            "sidecar.watch(…, expose => …, replace => true) adds one."
            + did_you_mean(name[:200], (*watch.key_columns, *watch.exposed), "{!r}")
        )
        raise InputError("column_not_exposed", message, param)
