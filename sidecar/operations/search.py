"""Nearest-neighbour search over a watch, by sidecar.search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from sidecar.operations.command_session import CommandCursor

_WATCH = """
    select w.relation::text as relation, w.target, w.kind, w.dimensions, w.fingerprint, w.encoder as model,
           w.key_columns
        from sidecar.need_watch($1::regclass, $2::text) w
"""
# A row that went between the two looks at it has no columns to show.
_SEARCH = """
    select s.key, s.distance, r.row
        from sidecar.need_watch($1::regclass, $2::text) w
        cross join sidecar.search(w.relation, $3::text, w.target, $4::integer) s
        cross join lateral (select sidecar.show_row(w, s.key) as row) r
        where r.row is not null
        order by s.distance
"""


@dataclass(frozen=True, slots=True)
class SearchableWatch:
    """What a search has to know of a watch. `fingerprint` is the space of its vectors, None before the first one."""

    relation: str
    target: str
    kind: str
    dimensions: int
    fingerprint: str | None
    model: str | None
    key_columns: list[str]


@dataclass(frozen=True, slots=True)
class FoundRows:
    """Rows nearest first, without their vectors: values in the order of `columns`, and cosine distances (0 to 2).

    A value is as JSON has it; of a bytea only its length is there, `{"bytes": 2048}`. `keys` hold column → value.
    """

    columns: list[str]
    rows: list[tuple[Any, ...]]
    distances: list[float]
    keys: list[dict[str, Any]]


def find_watch(connection: psycopg.Connection[Any], table: str, target: str | None) -> SearchableWatch:
    """Raises psycopg.Error: the table, or that target of it, is not watched."""
    with CommandCursor(connection, row_factory=dict_row) as cursor:
        row = cursor.execute(_WATCH.encode(), (table, target)).fetchone()
    assert row is not None
    return SearchableWatch(**row)


def run_search(
    connection: psycopg.Connection[Any], table: str, target: str, vector: list[float], limit: int
) -> FoundRows:
    """Raises psycopg.Error."""
    literal = "[" + ",".join(map(repr, vector)) + "]"
    found = connection.execute(_SEARCH.encode(), (table, target, literal, limit)).fetchall()
    rows: list[dict[str, Any]] = [
        {name: value for part in parts for name, value in part.items()} for _, _, parts in found
    ]
    return FoundRows(
        columns=list(rows[0]) if rows else [],
        rows=[tuple(row.values()) for row in rows],
        distances=[distance for _, distance, _ in found],
        keys=[key for key, _, _ in found],
    )
