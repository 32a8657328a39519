"""Runs the Alembic migrations, from an installed package as well as from a checkout."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import alembic.util
import psycopg
import sqlalchemy
from alembic import command, op
from alembic.config import Config

from sidecar.errors import DatabaseUnavailable, SchemaError, StatementRejected
from sidecar.operations.installed_code import renew_triggers
from sidecar.operations.restored_schema import BASELINE, RestoredSchema
from sidecar.operations.rights import migration_hint
from sidecar.operations.session import check_server_version
from sidecar.postgres.address import read_address
from sidecar.postgres.remedies import NOT_PERMITTED, READ_ONLY, READ_ONLY_HINT
from sidecar.postgres.session_settings import set_settings
from sidecar.postgres.shipped import head_revision, migrations_directory, sql_directory
from sidecar.postgres.statements import read_statements
from sidecar.redaction import redact

__all__ = [
    "Migrated",
    "connect",
    "current_revision",
    "head_revision",
    "migrate",
    "migrations_directory",
    "run_sql_file",
    "sql_directory",
]

# For the whole session, whatever role and database have. Waits for tables in use are limited by LOCK_TIMEOUT, later.
SETTINGS = {
    "statement_timeout": "15min",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "5s",  # a process that is stopped half-way blocks users' writes
    "default_transaction_isolation": "read committed",
    "quote_all_identifiers": "off",  # names are compared as Postgres prints them
    "client_min_messages": "warning",
}
LOCK_TIMEOUT = "10s"

_SQL = read_statements("sidecar.operations", "migrations.sql")
_INSTALLATION = read_statements("sidecar.operations", "installation.sql")
_AGAIN = "Nothing was changed: run it again when it is over. pg_stat_activity shows who holds locks, and since when."
_HINTS = {
    "42501": "Nothing was changed. Connect as the owner of schema `sidecar`, or as a superuser.",
    "55P03": "A transaction that uses schema `sidecar` or a watched table is still open. " + _AGAIN,
    "57014": "Another `sidecar migrate`, or a table that is in use, took too long. " + _AGAIN,
    "40P01": _AGAIN,
    READ_ONLY: READ_ONLY_HINT,
}


@dataclass(slots=True)
class Migrated:
    """What `migrate` did beside changing the revision."""

    code_replaced: bool = False
    restored: RestoredSchema | None = None


def connect(url: str, *, autocommit: bool = False) -> psycopg.Connection[tuple[Any, ...]]:
    """Opens a connection for migrations. Raises psycopg.Error, ConfigurationError."""
    # Without client_encoding, psycopg would return the text of a server with SQL_ASCII as bytes.
    return psycopg.connect(
        read_address(url).conninfo(), client_encoding="utf8", application_name="sidecar-migrate", autocommit=autocommit
    )


def session_statements() -> tuple[str, ...]:
    """The statements that apply SETTINGS to a session."""
    return set_settings(SETTINGS, local=False), _SQL["lift_transaction_timeout"]


def lock_timeout_statement() -> str:
    """The statement that limits waits for tables in use."""
    return set_settings({"lock_timeout": LOCK_TIMEOUT}, local=False)


def run_sql_file(name: str) -> None:
    """Runs all statements of a file in the transaction of a migration. Only for use inside a migration."""
    script = (sql_directory() / name).read_text(encoding="utf-8")
    connection = op.get_bind().connection.dbapi_connection
    assert connection is not None
    # Without parameters psycopg sends the text unchanged: it may hold many statements, and % needs no escape.
    connection.cursor().execute(script)


def _config(url: str, migrated: Migrated) -> Config:
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(database_url=url, migrated=migrated)
    return config


def migrate(url: str, revision: str = "head") -> Migrated:
    """Migrates the tables of schema `sidecar` to `revision` and, at head, replaces its code; 'base' removes both.

    Runs in one transaction, which repairs a schema that was restored without its rows first. A schema that was
    migrated by a newer version is left unchanged.
    Raises DatabaseUnavailable, SchemaError, StatementRejected.
    """
    present = current_revision(url)
    _check_target_revision(present, revision)
    if revision == "base":
        _check_nothing_is_watched(url)
    migrated = Migrated()
    if revision == "head" and present is not None and present > head_revision():
        return migrated  # migrated by a newer version, with which this one works
    with _translate_errors(url):
        try:
            (command.downgrade if revision == "base" else command.upgrade)(_config(url, migrated), revision)
            if current_revision(url) == head_revision():
                with _open_session(url) as connection:
                    renew_triggers(connection)
        except alembic.util.CommandError as error:
            raise SchemaError(
                f"cannot migrate to {revision!r}: {error}; known are 'head', 'base' and up to {head_revision()}"
            ) from error
    return migrated


def _check_target_revision(present: str | None, revision: str) -> None:
    """Raises SchemaError for a schema that is too old to upgrade, or for a downgrade other than to 'base'."""
    if present is not None and present < BASELINE:
        raise SchemaError(
            f"the schema `sidecar` is at {present}; this version upgrades from {BASELINE} on. Run the `sidecar "
            "migrate` of the version before this one first"
        )
    if present is not None and revision not in {"head", "base"} and revision < present:
        raise SchemaError(
            f"the schema `sidecar` is at {present}: there is no way down to {revision!r}, only to 'base', which "
            "removes it"
        )


def _check_nothing_is_watched(url: str) -> None:
    """Raises StatementRejected while there are active watches: 'base' is refused before anything is done."""
    with _open_session(url) as connection:
        [schema] = connection.execute(_SQL["schema_of_watches"].encode()).fetchone() or (None,)
        if schema is None:
            return
        if connection.execute(_SQL["active_watch"].format(schema=schema).encode()).fetchone() is not None:
            raise StatementRejected(
                "there are active watches",
                "2BP01",
                "End each of them first: select sidecar.unwatch(relation, target) from sidecar.status;",
            )


def current_revision(url: str) -> str | None:
    """The revision of the database; None before the first migration, and where its row was not restored.

    Raises DatabaseUnavailable, StatementRejected.
    """
    with _open_session(url) as connection:
        if connection.execute(_INSTALLATION["has_revision_table"].encode()).fetchone() == (False,):
            return None
        row = connection.execute(_INSTALLATION["revision"].encode()).fetchone()
    return None if row is None else str(row[0])


@contextmanager
def _open_session(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with _translate_errors(url), connect(url, autocommit=True) as connection:
        check_server_version(connection)
        for statement in (*session_statements(), lock_timeout_statement()):
            connection.execute(statement.encode())
        yield connection


@contextmanager
def _translate_errors(url: str) -> Iterator[None]:
    """Raises errors of psycopg and SQLAlchemy as DatabaseUnavailable or StatementRejected."""
    try:
        yield
    except (sqlalchemy.exc.DBAPIError, psycopg.Error) as error:
        cause = getattr(error, "orig", error)
        if not isinstance(cause, psycopg.Error) or cause.sqlstate is None or cause.sqlstate.startswith(("08", "57P")):
            raise DatabaseUnavailable(f"cannot migrate {redact(url)}: {redact(str(cause)).strip()}") from error
        hint = cause.diag.message_hint or _missing_right(url, cause.sqlstate) or _HINTS.get(cause.sqlstate)
        raise StatementRejected(cause.diag.message_primary or str(cause), cause.sqlstate, hint) from error


def _missing_right(url: str, sqlstate: str) -> str | None:
    if sqlstate != NOT_PERMITTED:
        return None
    with connect(url, autocommit=True) as connection:
        return migration_hint(connection)
