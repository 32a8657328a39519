"""The session of a command: its user's rights and search_path, and our settings with each statement.

With each statement, not once: a pooler in transaction mode gives the next statement another session, and this session
to another client. Settings and statement are one message of the simple protocol, which the server takes whole, runs and
commits by itself: a command that is stopped (Ctrl-Z), or whose machine vanishes, holds no lock meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self, TypeAlias

import psycopg
from psycopg import sql
from psycopg.rows import Row
from pydantic import SecretStr

from sidecar.errors import DatabaseUnavailable, SchemaError, StatementRejected
from sidecar.operations.rights import Right, grant_hint, usage_hint
from sidecar.postgres.address import read_address
from sidecar.postgres.remedies import NOT_PERMITTED, READ_ONLY, READ_ONLY_HINT, connection_hint
from sidecar.postgres.session_settings import COMMAND_SETTINGS, set_settings
from sidecar.postgres.shipped import describe_old_schema, head_revision
from sidecar.postgres.statements import read_statements
from sidecar.redaction import redact

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Warn: TypeAlias = Callable[[str, str | None], None]
"""Receives a warning of the server and its hint."""

OLDEST_SERVER = 15
_NOT_IN_REPERTOIRE = "22021"  # character_not_in_repertoire
_UNKNOWN_TABLE = {"42P01", "42602", "3F000"}  # undefined_table, invalid_name, invalid_schema_name
_SQL = read_statements("sidecar.operations", "installation.sql")
_TABLE = re.compile(r"(?:permission denied for|must be owner of) table (\S+)")
_SCHEMA = re.compile(r"permission denied for schema (.+)")
_PARAMETER = re.compile(r"\$(\d+)")


class CommandCursor(psycopg.RawCursor[Row]):
    """Parameters are written $1, $2 …, for values only; the cursor puts them into the statement as literals."""

    settings = set_settings(COMMAND_SETTINGS, local=True)

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        statement = query.decode() if isinstance(query, bytes) else sql.SQL(query).as_string(self.connection)
        if params is not None:
            literals = [sql.Literal(value).as_string(self.connection) for value in params]
            statement = _PARAMETER.sub(lambda found: f" {literals[int(found[1]) - 1]} ", statement)
        super().execute(f"{self.settings};\n{statement}".encode(), **options)
        self.nextset()  # past the settings
        return self


class CatalogCursor(CommandCursor[Row]):
    """Functions, operators and types are those of pg_catalog.

    In a schema of the user's search_path, a function of another user may fit the arguments better; it would run with
    this user's rights.
    """

    settings = set_settings({**COMMAND_SETTINGS, "search_path": "pg_catalog, pg_temp"}, local=True)


@contextmanager
def connect_to_schema(
    url: SecretStr, warn: Warn, right: Right = Right.READER, table: str | None = None
) -> Iterator[Connection]:
    """Like connect_with_warnings, for a schema `sidecar` that is at least as new as this code.

    Raises SchemaError where the schema is missing or too old.
    """
    with connect_with_warnings(url, warn, right, table) as connection:
        require_schema(connection)
        yield connection


@contextmanager
def connect_with_warnings(
    url: SecretStr, warn: Warn, right: Right = Right.READER, table: str | None = None
) -> Iterator[Connection]:
    """Like connect_as_user; `warn` gets the server's warnings.

    What the role may not do is raised as StatementRejected, whose hint grants it `right`, and what that takes on
    `table`.
    """
    for note in read_address(url.get_secret_value()).notes:
        warn(f"the database's address: {note}", None)
    with connect_as_user(url) as connection:
        connection.add_notice_handler(partial(_pass_on, warn))
        with _naming_grants(connection, right, table):
            yield connection


def require_schema(connection: Connection) -> None:
    """Raises SchemaError where schema `sidecar` is missing or too old, StatementRejected."""
    with translate_psycopg_errors():
        row = connection.execute(_SQL["is_migrated"].encode()).fetchone()
        assert row is not None
        if not row[1]:
            raise SchemaError(f'database "{row[0]}" has no schema `sidecar`, or an older one.\nHINT: sidecar migrate')
        _check_revision(connection)


@contextmanager
def _naming_grants(connection: Connection, right: Right, table: str | None) -> Iterator[None]:
    try:
        yield
    except StatementRejected as error:
        if error.sqlstate != NOT_PERMITTED:
            raise
        named, closed = _TABLE.search(error.message), _SCHEMA.search(error.message)
        hint = usage_hint(connection, closed[1]) if closed else None
        hint = hint or grant_hint(connection, right, table or (named and named[1]))
        if hint is None:
            raise
        raise StatementRejected(error.message, error.sqlstate, hint) from error


def _pass_on(warn: Warn, notice: psycopg.errors.Diagnostic) -> None:
    """Warnings, and notices that say what to do; the others tell of each object that a statement touches."""
    if notice.severity_nonlocalized == "WARNING" or notice.message_hint:
        warn(notice.message_primary or "", notice.message_hint)


def _check_revision(connection: Connection) -> None:
    try:
        row = connection.execute(_SQL["revision"].encode()).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return  # a role of grant_reader, which cannot see the revision
    except psycopg.errors.UndefinedTable:
        row = None  # left out of a restore
    revision = None if row is None else row[0]
    if revision is None or revision < head_revision():
        raise SchemaError(f"{describe_old_schema(revision)}.\nHINT: sidecar migrate")


@contextmanager
def connect_as_user(url: SecretStr) -> Iterator[Connection]:
    """A connection in autocommit mode, with parameters written $1, $2 …

    Raises DatabaseUnavailable, and ConfigurationError where the address cannot be read.
    """
    address = url.get_secret_value()
    try:
        connection = psycopg.connect(
            read_address(address).conninfo(),
            autocommit=True,
            client_encoding="utf8",  # of a server with SQL_ASCII, psycopg would give text as bytes
            application_name="sidecar-cli",
            cursor_factory=CommandCursor,
            prepare_threshold=None,  # a pooler in transaction mode would not know them
        )
    except psycopg.Error as error:
        # libpq reports every address it tried, a line each; the first one says enough.
        reason = str(error).removeprefix("connection failed: ").partition("\n")[0]
        raise DatabaseUnavailable(
            f"cannot connect to {redact(address)}: {redact(reason)}\n"
            f"HINT: {connection_hint(reason, read_address(address).options.get('user') or '')}"
        ) from error
    with connection:
        check_server_version(connection)
        yield connection


def check_server_version(connection: psycopg.Connection[Any]) -> None:
    """Raises SchemaError for a server that is too old."""
    if connection.info.server_version < OLDEST_SERVER * 10000:
        version = connection.info.parameter_status("server_version")
        raise SchemaError(
            f"the server is PostgreSQL {version}; {OLDEST_SERVER} or newer is needed.\n"
            "HINT: Upgrade the server, or name another one in DATABASE_URL or --database-url."
        )


@contextmanager
def translate_psycopg_errors() -> Iterator[None]:
    """Raises psycopg's errors as DatabaseUnavailable or StatementRejected."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate is None and isinstance(error, psycopg.DataError):  # psycopg's own, of a text with NUL
            raise StatementRejected(str(error), _NOT_IN_REPERTOIRE) from error
        if error.sqlstate is None or error.sqlstate.startswith(("08", "57P")):
            raise DatabaseUnavailable(f"the connection was lost: {redact(str(error)).strip()}") from error
        hint = error.diag.message_hint
        if hint is None and error.sqlstate in _UNKNOWN_TABLE:
            hint = "Name it as schema.table; a name with capitals or blanks needs double quotes inside the shell's."
        if hint is None and error.sqlstate == NOT_PERMITTED:
            hint = "Connect as the owner of the table or of schema `sidecar`, or as a superuser."
        if hint is None and error.sqlstate == READ_ONLY:
            hint = READ_ONLY_HINT
        raise StatementRejected(error.diag.message_primary or str(error), error.sqlstate, hint) from error
