"""Nearest-neighbour search in the vectors of a watch, by sidecar.search."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from sidecar.operations.session import CommandCursor, Connection
from sidecar.postgres.statements import read_statements

_SQL = read_statements("sidecar.operations", "search.sql")


@dataclass(frozen=True, slots=True)
class SearchableWatch:
    """The watch that a search runs on. `fingerprint` names the space of its vectors; None before the first one."""

    relation: str
    target: str
    kind: str
    dimensions: int
    fingerprint: str | None
    model: str | None
    key_columns: list[str]


@dataclass(frozen=True, slots=True)
class FoundRows:
    """Rows, the nearest first, without their vectors: values in the order of `columns`, and cosine distances (0 to 2).

    Values are decoded JSON; a bytea is replaced by its length, `{"bytes": 2048}`. `keys` map column to value.
    """

    columns: list[str]
    rows: list[tuple[Any, ...]]
    distances: list[float]
    keys: list[dict[str, Any]]


def find_watch(connection: Connection, table: str, target: str | None) -> SearchableWatch:
    """Raises psycopg.Error if the table, or that target of it, is not watched."""
    with CommandCursor(connection, row_factory=dict_row) as cursor:
        row = cursor.execute(_SQL["find_watch"].encode(), (table, target)).fetchone()
    assert row is not None
    return SearchableWatch(**row)


def run_search(connection: Connection, table: str, target: str, vector: list[float], limit: int) -> FoundRows:
    """Raises psycopg.Error."""
    literal = "[" + ",".join(map(repr, vector)) + "]"
    cursor = connection.cursor()
    # 56.40 stays 56.40, and a number of thirty digits has all of them.
    set_json_loads(partial(json.loads, parse_float=Decimal), cursor)
    found = cursor.execute(_SQL["nearest_rows"].encode(), (table, target, literal, limit)).fetchall()
    rows: list[dict[str, Any]] = [
        {name: value for part in parts for name, value in part.items()} for _, _, parts in found
    ]
    return FoundRows(
        columns=list(rows[0]) if rows else [],
        rows=[tuple(row.values()) for row in rows],
        distances=[distance for _, distance, _ in found],
        keys=[key for key, _, _ in found],
    )
