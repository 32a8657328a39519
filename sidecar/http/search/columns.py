"""Checks the columns that a search names against its watches."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.errors import InputError
from sidecar.http.search.bodies import SearchBody
from sidecar.http.search.filters import FilteredColumn, check_filter
from sidecar.postgres.search import SearchedWatch
from sidecar.similarity import did_you_mean


def check_columns(watches: Sequence[SearchedWatch], body: SearchBody) -> None:
    """Checks the columns that the search returns and filters by: each of the watches has to expose them.

    Raises InputError: `column_not_exposed`, `column_gone`, `duplicate_column`, `column_not_comparable`,
    `invalid_filter`.
    """
    named: set[str] = set()
    for index, name in enumerate(body.columns or []):
        _check_exposed(watches, name, f"columns[{index}]")
        if name in named:
            raise InputError("duplicate_column", f"`columns[{index}]` names {name!r} again.", f"columns[{index}]")
        named.add(name)
    for column in check_filter(body.filter):
        for watch in watches:
            _check_no_operator(watch, column)
        _check_exposed(watches, column.name, column.path)
        incomparable = watches[0].incomparable
        if column.name in incomparable:
            message = (
                f"`{column.path[:200]}`: column {column.name!r} has the type {incomparable[column.name]}, which "
                "a filter cannot compare; it compares built-in scalar types, enums, arrays of built-in types and jsonb."
            )
            raise InputError("column_not_comparable", message, column.path)


def shown_columns(watches: Sequence[SearchedWatch], columns: Sequence[str] | None) -> Sequence[str]:
    """The columns to return: those named, or what all of the watches expose, in the order of the first."""
    if columns is not None:
        return columns
    return [name for name in watches[0].exposed if all(name in watch.exposed for watch in watches)]


def rerank_columns(watches: Sequence[SearchedWatch], column: str | None) -> Sequence[str]:
    """The columns with the text to rank by: `column`, or what the first watch of texts embeds.

    Raises InputError (`rerank_needs_column`) if all of the watches embed pictures and `column` is None.
    """
    sources = [watch.source for watch in watches if watch.kind == "text"]
    if column is not None:
        if not any(column in source for source in sources):
            _check_exposed(watches, column, "rerank.column")
        return [column]
    if not sources:
        names = " and ".join(f"{watch.table_name}.{watch.target}" for watch in watches)
        verb = "holds" if len(watches) == 1 else "hold"
        message = f"{names} {verb} pictures: name an exposed text column to rank by."
        raise InputError("rerank_needs_column", message, "rerank.column")
    return sources[0]


def word_columns(watch: SearchedWatch, columns: Sequence[str] | None) -> Sequence[str]:
    """The columns to match words in: those named, or what a watch of texts embeds, if all of it is exposed.

    Words that match tell what is in a column, so it has to be exposed. Raises InputError: `column_not_exposed`,
    `column_gone`, `hybrid_needs_columns`.
    """
    for index, name in enumerate(columns or ()):
        _check_exposed([watch], name, f"hybrid.columns[{index}]")
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


def _check_no_operator(watch: SearchedWatch, column: FilteredColumn) -> None:
    if column.name.startswith("$") and column.name not in (*watch.key_columns, *watch.exposed, *watch.gone):
        message = (
            f"`{column.path[:200]}`: there is no such operator here, only $and, $or and $not. Others belong to a "
            'column: {"price": {"$gte": 10}}.'
        )
        raise InputError("invalid_filter", message, column.path)


def _check_exposed(watches: Sequence[SearchedWatch], name: str, param: str) -> None:
    """Raises InputError (`column_gone`, `column_not_exposed`) unless each of the watches exposes the column."""
    for watch in watches:
        permitted = (*watch.key_columns, *watch.exposed)
        if name in watch.gone:
            message = f"`{param}`: column {name!r} was exposed, but no longer exists: it was renamed or dropped."
            raise InputError("column_gone", message, param)
        if watch.shows_pictures and name in watch.source:
            message = f"`{param}`: column {name!r} holds pictures, which GET /thumbnail shows."
            raise InputError("column_not_exposed", message, param)
        if name not in permitted:
            which = "the watch" if len(watches) == 1 else f"the watch with the target {watch.target!r}"
            message = (
                f"`{param}`: {which} does not expose a column {name[:200]!r}. Key and exposed columns are "
                f"{', '.join(permitted)}; sidecar.watch(…, expose => …, replace => true) adds one."
                + did_you_mean(name[:200], permitted, "{!r}")
            )
            raise InputError("column_not_exposed", message, param)
