"""What the service finds of a table that is to be watched: a survey, some rows, and the statement to run. Blocking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, LiteralString

from psycopg import sql
from psycopg.rows import dict_row
from pydantic import SecretStr

from sidecar.errors import StatementRejected
from sidecar.operations.meant_table import naming_similar_tables
from sidecar.operations.operations import WatchRequest
from sidecar.operations.planning.role_session import connect_to_read
from sidecar.operations.planning.server_memory import ServerMemory, read_memory
from sidecar.operations.planning.survey import HEAD_BYTES, Survey, survey
from sidecar.operations.session import CommandCursor, Connection, translate_psycopg_errors
from sidecar.pictures.formats.signatures import detect_format
from sidecar.postgres.remedies import NOT_PERMITTED
from sidecar.postgres.statements import read_statements

PREVIEWED_ROWS, PREVIEWED_CHARS = 5, 200
_SAMPLE_ROWS = 100
_DEFAULTS = WatchRequest("", [])
_NOT_A_TABLE, _UNDEFINED_TABLE = "42809", "42P01"  # wrong_object_type
_SQL = read_statements("sidecar.operations.planning", "tables.sql")
_UNREADABLE = ("22", "54", "XX")  # classes of errors that one row's content can cause


@dataclass(frozen=True, slots=True)
class PreviewedRow:
    """A row before it is watched. `key`: its values as text. `text`: the beginning of a text, None of a picture.

    `size_bytes` is None where there is nothing to embed. `head`: the beginning of a picture's file, of some `format`.
    """

    key: dict[str, str | None]
    text: str | None
    size_bytes: int | None
    head: bytes | None
    format: str | None


@dataclass(frozen=True, slots=True)
class Prospect:
    """`owner`: the role that may run `statement`."""

    survey: Survey
    server: ServerMemory
    owner: str
    rows: list[PreviewedRow]
    statement: str


def find_prospect(url: SecretStr, request: WatchRequest) -> Prospect:
    """Surveys a table as its owner would see it.

    Raises StatementRejected if there is no such table or source, or the service's role may not read it;
    DatabaseUnavailable, SchemaError, TimedOut.
    """
    with (
        connect_to_read(url) as connection,
        _naming_grants(connection, request.table),
        naming_similar_tables(connection, request.table),
    ):
        with translate_psycopg_errors():
            table = _find_table(connection, request.table)
        meant = replace(request, table=table["name"])
        found = survey(connection, meant, as_owner=True, sample_rows=_SAMPLE_ROWS)
        with translate_psycopg_errors():
            statement = watch_statement(connection, meant)
        return Prospect(
            found, read_memory(connection), table["owner"], _preview(connection, table, meant, found.kind), statement
        )


@contextmanager
def _naming_grants(connection: Connection, table: str) -> Iterator[None]:
    """Where the role may not read the table: the hint says what it lacks."""
    try:
        yield
    except StatementRejected as error:
        if error.sqlstate != NOT_PERMITTED:
            raise
        role = _quoted(connection, connection.info.user)
        hint = f"The service's role needs USAGE on the schema, and to look at rows: grant select on {table} to {role};"
        raise StatementRejected(error.message, error.sqlstate, hint) from error


def watch_statement(connection: Connection, request: WatchRequest) -> str:
    """The call of sidecar.watch, with the arguments that are not left to the server."""
    arguments: list[sql.Composable] = [sql.Literal(request.table), _named("source", _text_or_array(request.source))]
    for name, value, default in (
        ("target", request.target, None),
        ("kind", request.kind, None),
        ("companion", request.companion, None),
        ("dimensions", request.dimensions, _DEFAULTS.dimensions),
        ("index", request.index, _DEFAULTS.index),
        ("storage", request.storage, None),
    ):
        if value != default:
            arguments.append(_named(name, sql.Literal(value)))
    if request.expose:
        arguments.append(_named("expose", _array(request.expose)))
    call = sql.SQL("select sidecar.watch(\n    {}\n);").format(sql.SQL(",\n    ").join(arguments))
    return call.as_string(connection)


def _named(name: LiteralString, value: sql.Composable) -> sql.Composable:
    return sql.SQL("{} => {}").format(sql.SQL(name), value)


def _text_or_array(names: list[str]) -> sql.Composable:
    return sql.Literal(names[0]) if len(names) == 1 else _array(names)


def _array(names: list[str]) -> sql.Composable:
    return sql.SQL("array[{}]").format(sql.SQL(", ").join(map(sql.Literal, names)))


def _find_table(connection: Connection, name: str) -> dict[str, Any]:
    """The table that the name means in the role's own search_path.

    Raises StatementRejected for what is no table, and for those of Postgres and of the sidecar: no row of theirs is for
    people to see.
    """
    with CommandCursor(connection) as cursor:
        row = cursor.execute(_SQL["oid"].encode(), (name,)).fetchone()
    assert row is not None
    with connection.cursor(row_factory=dict_row) as cursor_of_rows:
        table = cursor_of_rows.execute(_SQL["table"].encode(), row).fetchone()
    if table is None:  # `-` or a number, which regclass reads without looking for a table; or it was dropped meanwhile
        raise StatementRejected(f"there is no table {name}", _UNDEFINED_TABLE)
    if table["kind"] not in {"r", "p"}:
        message = f"{table['name']} is a view, or something else that is not a table"
        raise StatementRejected(message, _NOT_A_TABLE, "Only tables can be watched: name the table behind it.")
    if table["is_internal"]:
        raise StatementRejected(f"{table['name']} is not a table of yours", _NOT_A_TABLE, "Name a table of your own.")
    return table


def _preview(connection: Connection, table: dict[str, Any], request: WatchRequest, kind: str) -> list[PreviewedRow]:
    """Some rows; none if the content of one cannot be read."""
    try:
        with translate_psycopg_errors():
            return _read_rows(connection, table, request.source, kind)
    except StatementRejected as error:
        if error.sqlstate.startswith(_UNREADABLE):
            return []
        raise


def _read_rows(connection: Connection, table: dict[str, Any], source: list[str], kind: str) -> list[PreviewedRow]:
    statement = _SQL[f"preview_{kind}"].format(
        table=table["name"],
        keys=", ".join(f"format('%s', t.{column})" for column in table["quoted_keys"]) or "null",
        source=", ".join(f"t.{_quoted(connection, column)}" for column in source),
        chars=PREVIEWED_CHARS,
        head_bytes=HEAD_BYTES,
        rows=PREVIEWED_ROWS,
    )
    return [
        PreviewedRow(dict(zip(table["keys"], key, strict=False)), text, size, head, head and detect_format(head))
        for key, text, size, head in connection.execute(statement.encode()).fetchall()
    ]


def _quoted(connection: Connection, name: str) -> str:
    return sql.Identifier(name).as_string(connection)
