"""Nearest-neighbour search over a watch, by the query that sidecar.status documents."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import psycopg

from sidecar.errors import SchemaError

# Identifiers are quoted where they could be mistaken for the words around them.
_DOCUMENTED_QUERY = re.compile(
    r'select (?P<columns>\*|t\.\*) from (?P<tables>(?:"(?:[^"]|"")*"|[^"])*?) order by (?P<distance>.+) limit 10',
    re.DOTALL,
)
_VECTOR_TYPES = "select oid::bigint from pg_type where typname in ('vector', 'halfvec', 'sparsevec')"
# strict_order: an index scan goes on until it has found as many rows as were asked for.
_PREPARE_SESSION = """
    select set_config('hnsw.iterative_scan', 'strict_order', false),
           set_config('search_path', current_setting('search_path') || ', ' || $1::text, false)
"""


@dataclass(frozen=True, slots=True)
class SearchableWatch:
    """`statement` is the documented query, `fingerprint` the space of the stored vectors, None before the first one."""

    relation: str
    target: str
    kind: str
    dimensions: int
    fingerprint: str | None
    model: str | None
    key_columns: list[str]
    statement: str
    vector_schema: str


@dataclass(frozen=True, slots=True)
class FoundRows:
    """Rows nearest first, without their vectors: values in the order of `columns`, and cosine distances (0 to 2)."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    distances: list[float]


def run_search(
    connection: psycopg.Connection[tuple[Any, ...]], watch: SearchableWatch, vector: list[float], limit: int
) -> FoundRows:
    """Raises psycopg.Error, SchemaError."""
    connection.execute(_PREPARE_SESSION, (watch.vector_schema,))
    vector_types = {row[0] for row in connection.execute(_VECTOR_TYPES)}
    literal = "[" + ",".join(map(repr, vector)) + "]"
    cursor = connection.execute(_with_distance(watch.statement).encode(), (literal, limit))
    assert cursor.description is not None
    shown = [i for i, column in enumerate(cursor.description[:-1]) if column.type_code not in vector_types]
    found = [row for row in cursor if row[-1] is not None]
    return FoundRows(
        columns=[cursor.description[i].name for i in shown],
        rows=[tuple(row[i] for i in shown) for row in found],
        distances=[float(row[-1]) for row in found],
    )


def _with_distance(statement: str) -> str:
    """The documented query with its distance as the last column, and its limit as $2."""
    parts = _DOCUMENTED_QUERY.fullmatch(statement)
    if parts is None:
        raise SchemaError(f"the schema `sidecar` documents a query that this version does not know: {statement}")
    columns, tables, distance = parts["columns"], parts["tables"], parts["distance"]
    return f"select {columns}, {distance} from {tables} order by {distance} limit $2"  # noqa: S608 - Postgres quoted it
