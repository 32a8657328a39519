"""The table that a command may have meant, where Postgres knows none of the name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from shlex import quote

import psycopg

from sidecar.errors import StatementRejected
from sidecar.operations.session import Connection
from sidecar.postgres.statements import read_statements
from sidecar.similarity import most_similar

_SQL = read_statements("sidecar.operations", "meant_table.sql")
# undefined_table, invalid_schema_name, invalid_name; feature_not_supported: of another "database", a.b.c
_UNKNOWN_TABLE = {"42P01", "3F000", "42602", "0A000"}


@contextmanager
def naming_similar_tables(connection: Connection, table: object) -> Iterator[None]:
    """Where there is no table `table`: adds a similar name to StatementRejected, or how that watch is named."""
    try:
        yield
    except StatementRejected as error:
        if error.sqlstate not in _UNKNOWN_TABLE or not isinstance(table, str):
            raise
        hint = None
        with suppress(psycopg.Error):  # without schema `sidecar`, or without rights to read its watches
            hint = _name_watch(connection, table)
        hint = hint or _name_similar(connection, table)
        if hint is None:
            raise
        raise StatementRejected(error.message, error.sqlstate, hint) from error


def _name_watch(connection: Connection, words: str) -> str | None:
    """A hint if the words are a watch's name as `status` prints it, table.target."""
    table, dot, target = words.rpartition(".")
    if not dot or connection.execute(_SQL["is_watch"].encode(), (table, target)).fetchone() is None:
        return None
    return f"{words} is the name of a watch. Give table and target apart: {quote(table)} --target {quote(target)}"


def _name_similar(connection: Connection, table: str) -> str | None:
    names: dict[str, str] = dict(connection.execute(_SQL["tables"].encode()).fetchall())
    name = most_similar(table.rpartition(".")[2].strip('"'), names)
    return None if name is None else f"Did you mean {quote(names[name])}?"
