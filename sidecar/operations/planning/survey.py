"""Surveys a table for `sidecar plan`, before it is watched. Nothing is written. Blocking."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from sidecar.errors import StatementRejected
from sidecar.operations.meant_table import naming_similar_tables
from sidecar.operations.operations import WatchRequest
from sidecar.operations.planning.costs import OTHER_INDEX
from sidecar.operations.session import Connection, translate_psycopg_errors
from sidecar.postgres.statements import read_statements

SAMPLE_ROWS = 500
HEAD_BYTES = 128 * 1024
_NOT_A_TABLE = "42809"  # wrong_object_type

_SQL = read_statements("sidecar.operations.planning", "survey.sql")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The error that `sidecar.watch` would raise."""

    message: str
    hint: str | None
    sqlstate: str


@dataclass(frozen=True, slots=True)
class Table:
    """Size of a table. `rows` is an estimate where `estimated`. `heap_bytes`: without TOAST and indexes."""

    name: str
    rows: int
    estimated: bool
    heap_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Sampled rows. `sizes`: bytes of each row's source, None where there is nothing to embed.

    `heads` are the beginnings of the sampled pictures' files.
    """

    sizes: list[int | None]
    heads: list[bytes]


@dataclass(frozen=True, slots=True)
class Survey:
    """The result of a survey. `views_per_s` is the speed of all running sidecars, None while not measured.

    `storage`: as asked for, else as sidecar.watch would choose it. `index`: "none", OTHER_INDEX, or the type that an
    HNSW index without options is on. `is_migrated`: its checks were there to be run.
    """

    table: Table
    kind: str
    target: str
    sample: Sample
    views_per_s: float | None
    refusal: Refusal | None
    storage: str
    index: str
    is_migrated: bool = True


def survey(
    connection: Connection, request: WatchRequest, *, as_owner: bool = False, sample_rows: int = SAMPLE_ROWS
) -> Survey:
    """Measures and samples the table, and runs the checks of sidecar.watch, whose error becomes `refusal`.

    `as_owner`: with the checks that the table's owner would meet, instead of this session's role.

    Raises StatementRejected if there is no such table or source, or the role may not read it.
    """
    with naming_similar_tables(connection, request.table), translate_psycopg_errors():
        table = Table(**_row(connection, "size", (request.table,)))
        wanted: dict[str, Any] = {
            "relation": request.table,
            "source": request.source,
            "target": request.target or f"{request.source[0]}_embedding",
            "kind": request.kind,
            "dimensions": request.dimensions,
            "index_kind": request.index,
            "model": request.model,
            "storage": request.storage,
            "expose": request.expose,
        }
    refusal = None
    try:
        wanted = _value(connection, "check_watch", (json.dumps(wanted), request.table, request.companion))
        wanted["relation"] = request.table  # the name under which this session finds the table
        if not as_owner:
            _value(connection, "check_owner", (request.table,))
        _value(connection, "check_row_security", (request.table,))
        _value(connection, "warn_of_dimensions", (json.dumps(wanted),))
        if request.companion is None:
            _value(connection, "check_target", (json.dumps(wanted),))
            _value(connection, "warn_of_updates", (json.dumps(wanted),))
    except StatementRejected as error:
        if error.sqlstate == _NOT_A_TABLE and table.heap_bytes is None:
            raise
        refusal = Refusal(error.message, error.hint, error.sqlstate)
        wanted["kind"] = _value(connection, "kind", (request.table, request.source, request.kind))
    with translate_psycopg_errors():
        parameters = (json.dumps({**wanted, "companion": None}), table.rows, sample_rows, HEAD_BYTES)
        rows = connection.execute(_SQL["sample"].encode(), parameters).fetchall()
    return Survey(
        table=table,
        kind=wanted["kind"],
        target=wanted["target"],
        sample=Sample([row[0] for row in rows], [row[1] for row in rows if row[1] is not None]),
        views_per_s=_value(connection, "speed", (wanted["kind"], request.dimensions)),
        refusal=refusal,
        storage=wanted["storage"] or "vector",
        index=index_to_estimate(wanted),
    )


def index_to_estimate(wanted: Mapping[str, Any]) -> str:
    """Of a watch whose index the database has read, or which still has it as the user said it."""
    kind = {"hnsw": "halfvec"}.get(wanted["index_kind"], wanted["index_kind"])
    is_plain = wanted.get("index_method") in {None, "hnsw"} and not wanted.get("index_options")
    return kind if is_plain and kind in {"halfvec", "vector", "none"} else OTHER_INDEX


def _value(connection: Connection, name: str, parameters: tuple[object, ...]) -> Any:
    """Runs a statement of one value in a transaction that is rolled back."""
    with translate_psycopg_errors(), connection.transaction(force_rollback=True):
        row = connection.execute(_SQL[name].encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def _row(connection: Connection, name: str, parameters: tuple[object, ...]) -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_SQL[name].encode(), parameters).fetchone()
    assert row is not None
    return row
