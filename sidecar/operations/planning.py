"""What `sidecar plan` has to know of a table before it is watched. Nothing is written. Blocking."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from sidecar.errors import StatementRejected
from sidecar.operations.operations import WatchRequest, translated

SAMPLE_ROWS = 500
HEAD_BYTES = 128 * 1024

# As sidecar.watch begins; it changes nothing.
_CHECKED = """
    select to_jsonb(sidecar.checked_watch(jsonb_populate_record(null::sidecar.watches, $1::jsonb),
                                          sidecar.companion_name($2::regclass, $3::text)))
"""
_CHECKED_IN_ROW = """
    select sidecar.target_is_missing(w) from jsonb_populate_record(null::sidecar.watches, $1::jsonb) w
"""
_CHECKED_RIGHTS = "select sidecar.check_row_security($1::regclass)"
_WARN = "select sidecar.warn_of_updates(jsonb_populate_record(null::sidecar.watches, $1::jsonb))"
_WARN_OF_DIMENSIONS = "select sidecar.warn_of_dimensions(jsonb_populate_record(null::sidecar.watches, $1::jsonb))"
_KIND = "select sidecar.kind_of_source($1::regclass, $2::text[], $3::text)"
_SIZE = """
    select $1::regclass::text as name, c.n as rows, c.estimated,
           (select sum(pg_relation_size(t.home))::bigint from sidecar.tree_of($1::regclass) t) as heap_bytes,
           (select sum(pg_total_relation_size(t.home))::bigint from sidecar.tree_of($1::regclass) t) as total_bytes
        from sidecar.count_rows($1::regclass, false) c
"""
_SAMPLE = """
    select s.bytes, s.head
        from sidecar.sample_source(jsonb_populate_record(null::sidecar.watches, $1::jsonb), $2::bigint, $3::integer,
                                   $4::integer) s
"""
_SPEED = """
    select sum(case $1::text when 'text' then s.texts_per_s else s.picture_views_per_s end)
        from sidecar.sidecars s
        where s.seen_at > clock_timestamp() - interval '30 s' and s.dimensions = $2::integer
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What `sidecar.watch` would answer."""

    message: str
    hint: str | None
    sqlstate: str


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` is an estimate where `estimated`. `heap_bytes`: without TOAST and indexes."""

    name: str
    rows: int
    estimated: bool
    heap_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One entry for each row that was looked at. `sizes`: bytes of its source, None where there is nothing to embed.

    `heads` are the beginnings of its pictures' files.
    """

    sizes: list[int | None]
    heads: list[bytes]


@dataclass(frozen=True, slots=True)
class Prospect:
    """What is known before a watch. `views_per_s` of the sidecars that run, None while not measured."""

    table: Table
    kind: str
    target: str
    sample: Sample
    views_per_s: float | None
    refusal: Refusal | None


def survey(connection: psycopg.Connection[Any], request: WatchRequest) -> Prospect:
    """Raises StatementRejected where there is no such table or source, or the role may not read it."""
    with translated():
        table = Table(**_row(connection, _SIZE, (request.table,)))
        wanted: dict[str, Any] = {
            "relation": request.table,
            "source": request.source,
            "target": request.target or f"{request.source[0]}_embedding",
            "kind": request.kind,
            "dimensions": request.dimensions,
            "index_kind": request.index,
            "model": request.model,
        }
    refusal = None
    try:
        wanted = _ask(connection, _CHECKED, (json.dumps(wanted), request.table, request.companion))
        wanted["relation"] = request.table  # by the name that this session finds it under
        _ask(connection, _CHECKED_RIGHTS, (request.table,))
        _ask(connection, _WARN_OF_DIMENSIONS, (json.dumps(wanted),))
        if request.companion is None:
            _ask(connection, _CHECKED_IN_ROW, (json.dumps(wanted),))
            _ask(connection, _WARN, (json.dumps(wanted),))
    except StatementRejected as error:
        refusal = Refusal(error.message, error.hint, error.sqlstate)
        wanted["kind"] = _ask(connection, _KIND, (request.table, request.source, request.kind))
    with translated():
        parameters = (json.dumps({**wanted, "companion": None}), table.rows, SAMPLE_ROWS, HEAD_BYTES)
        rows = connection.execute(_SAMPLE.encode(), parameters).fetchall()
    return Prospect(
        table=table,
        kind=wanted["kind"],
        target=wanted["target"],
        sample=Sample([row[0] for row in rows], [row[1] for row in rows if row[1] is not None]),
        views_per_s=_ask(connection, _SPEED, (wanted["kind"], request.dimensions)),
        refusal=refusal,
    )


def _ask(connection: psycopg.Connection[Any], query: str, parameters: tuple[object, ...]) -> Any:
    """The only value, from a transaction that is rolled back."""
    with translated(), connection.transaction(force_rollback=True):
        row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def _row(connection: psycopg.Connection[Any], query: str, parameters: tuple[object, ...]) -> dict[str, Any]:
    with psycopg.RawCursor(connection, row_factory=dict_row) as cursor:
        row = cursor.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row
