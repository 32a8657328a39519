"""The tables that the service's role may read: what is watched, what can be, and why the rest cannot. Blocking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row
from pydantic import SecretStr

from sidecar.operations.planning.role_session import connect_to_read
from sidecar.operations.planning.survey import Refusal
from sidecar.operations.session import translate_psycopg_errors
from sidecar.postgres.statements import read_statements

_SQL = read_statements("sidecar.operations.planning", "tables.sql")


@dataclass(frozen=True, slots=True)
class FoundTable:
    """`columns`: name, type and kind ("text", "image" or None) of those that may be read. `watches`: their targets.

    `rows` is an estimate, None before the first ANALYZE; `bytes` is None, too, while the table is locked exclusively.
    """

    table: str
    owner: str
    rows: int | None
    bytes: int | None
    problem: Refusal | None
    key_columns: list[str]
    columns: list[dict[str, str | None]]
    watches: list[str]


def find_tables(url: SecretStr, prefix: str, limit: int) -> list[FoundTable]:
    """At most `limit` tables whose name, or schema and name, begin with `prefix`, by name.

    Raises DatabaseUnavailable, SchemaError, StatementRejected, TimedOut.
    """
    with (
        connect_to_read(url) as connection,
        translate_psycopg_errors(),
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        return [_found(row) for row in cursor.execute(_SQL["list"].encode(), (prefix, limit)).fetchall()]


def _found(row: dict[str, Any]) -> FoundTable:
    problem, hint, sqlstate = (row.pop(name) for name in ("problem", "hint", "sqlstate"))
    return FoundTable(**row, problem=None if problem is None else Refusal(problem, hint or None, sqlstate))
