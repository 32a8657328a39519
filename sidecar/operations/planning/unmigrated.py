"""Surveys a table where schema `sidecar` is not installed, as survey.py does with its functions.

Nothing is written. Blocking.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from sidecar.errors import StatementRejected
from sidecar.operations.meant_table import naming_similar_tables
from sidecar.operations.operations import WatchRequest
from sidecar.operations.planning.survey import (
    HEAD_BYTES,
    SAMPLE_ROWS,
    Refusal,
    Sample,
    Survey,
    Table,
    index_to_estimate,
)
from sidecar.operations.session import CatalogCursor, CommandCursor, Connection, translate_psycopg_errors
from sidecar.postgres.statements import read_statements
from sidecar.similarity import did_you_mean

_SQL = read_statements("sidecar.operations.planning", "unmigrated.sql")
_COUNTED_BYTES, _COUNTED_BYTES_UNANALYSED = 16 * 2**20, 256 * 2**20
_COUNTED_LEAVES = 100
_SAMPLED_PAGES = 256
_MIN_PAGES = 100
_OLDEST_PGVECTOR = [0, 8, 0]
_NAMES = {"v": "view", "m": "materialized view", "f": "foreign table", "S": "sequence"}


@dataclass(frozen=True, slots=True)
class _Source:
    """`content`: SQL for one picture, or for the texts to join."""

    kind: str
    content: str


@dataclass(frozen=True, slots=True)
class Contents:
    """Sampled contents: strings of a "text" source, files of an "image" one.

    `statement` reads them again, by their `places`.
    """

    table: Table
    kind: str
    values: list[str] | list[bytes]
    statement: str
    places: str


def survey_unmigrated(connection: Connection, request: WatchRequest) -> Survey:
    """As `survey`, without the checks that need schema `sidecar`: `refusal` knows of the primary key and of pgvector.

    Raises StatementRejected if there is no such table or source, or the role may not read it.
    """
    with naming_similar_tables(connection, request.table), translate_psycopg_errors():
        found = _find_table(connection, request.table)
        source = _find_source(connection, found, request)
        table = _measure(connection, found)
        return Survey(
            table=table,
            kind=source.kind,
            target=request.target or f"{request.source[0]}_embedding",
            sample=_sample(connection, found["quoted"], table, source),
            views_per_s=None,
            refusal=_pgvector_refusal(connection) if found["has_key"] else _without_key(found["name"]),
            storage=request.storage or "vector",
            index=index_to_estimate({"index_kind": request.index}),
            is_migrated=False,
        )


def _find_source(connection: Connection, found: dict[str, Any], request: WatchRequest) -> _Source:
    table, oid = found["name"], found["oid"]
    columns = {row["name"]: row for row in _rows(connection, "columns", oid, request.source)}
    for name in request.source:
        if name not in columns:
            similar = did_you_mean(name, [row["name"] for row in _rows(connection, "names", oid)], "'{}'")
            hint = rf"{similar} Column names are case-sensitive here: give them as \d shows them."
            raise StatementRejected(f"table {table} has no column '{name}'", "42703", hint.lstrip())
        if columns[name]["kind"] is None:
            message = (
                f"column {table}.{columns[name]['quoted']} has type {columns[name]['type']}, "
                "which holds neither text nor pictures"
            )
            hint = "A source is a text column, or a bytea column that holds picture files."
            raise StatementRejected(message, "42804", hint)
    kinds = [columns[name]["kind"] for name in request.source]
    if len(kinds) > 1 and "image" in kinds:
        hint = "Several source columns are joined as text. Plan each bytea column by itself."
        raise StatementRejected(f"source {', '.join(request.source)} mixes pictures with other columns", "42804", hint)
    if request.kind not in {None, kinds[0]}:
        held = "bytea (pictures)" if kinds[0] == "image" else "text"
        message = f"kind is '{request.kind}', but source {', '.join(request.source)} holds {held}"
        raise StatementRejected(message, "42804", f"Leave --kind out, or say --kind {kinds[0]}.")
    return _Source(kinds[0], ", ".join(columns[name]["quoted"] for name in request.source))


def _measure(connection: Connection, found: dict[str, Any]) -> Table:
    """Counts the rows where that is cheap, else estimates as the planner does."""
    countable = _COUNTED_BYTES if found["known_pages"] > 0 else _COUNTED_BYTES_UNANALYSED
    is_cheap = found["heap_bytes"] <= countable and found["leaves"] <= _COUNTED_LEAVES
    quoted, unknown_pages = found["quoted"], float(found["unknown_pages"])
    if found["is_readable"] and is_cheap:
        rows = float(_value(connection, "count", table=quoted))
    else:
        rows = float(found["known_rows"])
        if rows > 0:
            rows *= 1 + unknown_pages / float(found["known_pages"])
        elif unknown_pages > 0:
            share = min(1.0, _SAMPLED_PAGES / unknown_pages)
            rows = _value(connection, "sample_count", table=quoted, percent=100 * share) / share
    return Table(
        found["name"], round(rows), not is_cheap or not found["is_readable"], found["heap_bytes"], found["total_bytes"]
    )


def sample_contents(connection: Connection, request: WatchRequest, rows: Mapping[str, int]) -> Contents:
    """Reads whole contents of some rows: of `rows[kind]` at most, where kind is "text" or "image". Nothing is written.

    Raises StatementRejected as `survey_unmigrated` does.
    """
    with naming_similar_tables(connection, request.table), translate_psycopg_errors():
        found = _find_table(connection, request.table)
        source = _find_source(connection, found, request)
        table = _measure(connection, found)
        pages = _pages_to_sample(connection, table, rows[source.kind])
        names = {"table": found["quoted"], "content": source.content}
        sampled = _SQL[f"contents_{source.kind}"].format(**names, **pages)
        records = CatalogCursor(connection).execute(sampled.encode(), (rows[source.kind],)).fetchall()
    filled = [(place, content) for place, content in records if content is not None]
    statement = _SQL[f"read_{source.kind}"].format(**names)
    places = "{" + ",".join(f'"{place}"' for place, _ in filled) + "}"
    return Contents(table, source.kind, [content for _, content in filled], statement, places)


def read_again(connection: Connection, contents: Contents) -> int:
    """Reads the sampled rows again, by their places; how many are still there."""
    with translate_psycopg_errors():
        return len(CatalogCursor(connection).execute(contents.statement.encode(), (contents.places,)).fetchall())


def _find_table(connection: Connection, name: str) -> dict[str, Any]:
    """Raises StatementRejected for what is no table."""
    resolved = _resolve(connection, name)
    found = resolved | _rows(connection, "table", resolved["oid"])[0]
    if found["kind"] not in {"r", "p"}:
        what = _NAMES.get(found["kind"], "relation of another kind")
        message = f"{found['name']} is a {what}, not a table"
        raise StatementRejected(message, "42809", "Only tables can be watched: name the table behind it.")
    return found


def _pages_to_sample(connection: Connection, table: Table, rows: int) -> dict[str, float]:
    """Whole pages that are thinned out, so that all parts of a large table are represented."""
    block_bytes = int(connection.info.parameter_status("block_size") or 8192)
    wanted = min(1.0, rows / max(table.rows, 1))
    share = min(1.0, max(wanted, _MIN_PAGES * block_bytes / max(table.heap_bytes, 1)))
    return {"percent": 100 * share, "share": wanted / share}


def _sample(connection: Connection, quoted: str, table: Table, source: _Source) -> Sample:
    pages = _pages_to_sample(connection, table, SAMPLE_ROWS)
    statement = _SQL[f"sample_{source.kind}"].format(
        table=quoted, content=source.content, head_bytes=HEAD_BYTES, **pages
    )
    rows = CatalogCursor(connection).execute(statement.encode()).fetchall()
    return Sample([row[0] for row in rows], [row[1] for row in rows if row[1] is not None])


def _without_key(table: str) -> Refusal:
    hint = (
        "The sidecar tells rows apart by their primary key. Add one, for example: "
        f"alter table {table} add column id bigint generated always as identity primary key;"
    )
    return Refusal(f"table {table} has no primary key", hint, "42P16")


def _pgvector_refusal(connection: Connection) -> Refusal | None:
    version = next((row["version"] for row in _rows(connection, "pgvector")), None)
    if version is None:
        hint = "Install pgvector 0.8.0 or newer (packages are called postgresql-18-pgvector or the like)."
        return Refusal("pgvector is not installed on this server", hint, "42704")
    if [int(number) for number in re.findall(r"\d+", version)[:3]] < _OLDEST_PGVECTOR:
        hint = "Install a newer pgvector, then: alter extension vector update;"
        return Refusal(f"pgvector {version} is too old: 0.8.0 or newer is needed", hint, "0A000")
    return None


def _resolve(connection: Connection, table: str) -> dict[str, Any]:
    """Number and name of the table that the user means, by their search_path."""
    with CommandCursor(connection, row_factory=dict_row) as cursor:
        return cursor.execute(_SQL["resolve"].encode(), (table,)).fetchall()[0]


def _rows(connection: Connection, name: str, *parameters: object) -> list[dict[str, Any]]:
    with CatalogCursor(connection, row_factory=dict_row) as cursor:
        return cursor.execute(_SQL[name].encode(), parameters or None).fetchall()


def _value(connection: Connection, name: str, **names: object) -> Any:
    row = CatalogCursor(connection).execute(_SQL[name].format(**names).encode()).fetchone()
    assert row is not None
    return row[0]
