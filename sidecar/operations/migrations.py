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
from sidecar.operations.restored_schema import BASELINE, TakenUp
from sidecar.operations.trigger_renewal import renew_triggers
from sidecar.postgres.address import read_address
from sidecar.postgres.shipped import head_revision, migrations_directory, sql_directory
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

# Whatever role and database say. Of a table that is in use the later LOCK_TIMEOUT is the limit.
SETTINGS = (
    "set statement_timeout = '15min'",
    "set lock_timeout = 0",
    "set idle_in_transaction_session_timeout = '5s'",  # a process that is stopped half-way holds up users' writes
    "select set_config(name, '0', false) from pg_settings where name = 'transaction_timeout'",  # Postgres 17 and newer
    "set default_transaction_isolation = 'read committed'",
    "set quote_all_identifiers = off",  # our code compares names as Postgres prints them
    "set client_min_messages = warning",
)
LOCK_TIMEOUT = "set lock_timeout = '10s'"

_AGAIN = "Nothing was changed: run it again when it is over. pg_stat_activity shows who holds locks, and since when."
_HINTS = {
    "42501": "Nothing was changed. Connect as the role that owns schema `sidecar`, or as a superuser: docs/roles.md.",
    "55P03": "A transaction that uses schema `sidecar` or a watched table is still open. " + _AGAIN,
    "57014": "Another `sidecar migrate`, or a table that is in use, took too long. " + _AGAIN,
    "40P01": _AGAIN,
}


@dataclass(slots=True)
class Migrated:
    """What a call of `migrate` did beside changing the revision."""

    code_replaced: bool = False
    taken_up: TakenUp | None = None


def connect(url: str, *, autocommit: bool = False) -> psycopg.Connection[tuple[Any, ...]]:
    """A session for migrations. Raises psycopg.Error, ConfigurationError."""
    # Without the encoding, psycopg would give the text of a server with SQL_ASCII as bytes.
    return psycopg.connect(
        read_address(url).conninfo(), client_encoding="utf8", application_name="sidecar-migrate", autocommit=autocommit
    )


def run_sql_file(name: str) -> None:
    """Runs all statements of one file in the migration's transaction. For use inside a migration only."""
    script = (sql_directory() / name).read_text(encoding="utf-8")
    connection = op.get_bind().connection.dbapi_connection
    assert connection is not None
    # Without parameters psycopg sends the text as it is: many statements, and % means itself.
    connection.cursor().execute(script)


def _config(url: str, migrated: Migrated) -> Config:
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(database_url=url, migrated=migrated)
    return config


def migrate(url: str, revision: str = "head") -> Migrated:
    """Brings the tables of schema `sidecar` to `revision` and, at head, its code to today's; 'base' removes both.

    All of it in one transaction. A schema that was restored without its rows is taken up first. One that a newer
    version migrated is left as it is.
    Raises DatabaseUnavailable, SchemaError, StatementRejected.
    """
    present = current_revision(url)
    _refuse_unknown_ways(present, revision)
    if revision == "base":
        _refuse_while_watched(url)
    migrated = Migrated()
    if revision == "head" and present is not None and present > head_revision():
        return migrated  # a newer version migrated it, and this one works on it
    with _translated(url):
        try:
            (command.downgrade if revision == "base" else command.upgrade)(_config(url, migrated), revision)
            if current_revision(url) == head_revision():
                with _connected(url) as connection:
                    renew_triggers(connection)
        except alembic.util.CommandError as error:
            raise SchemaError(
                f"cannot migrate to {revision!r}: {error}; known are 'head', 'base' and up to {head_revision()}"
            ) from error
    return migrated


def _refuse_unknown_ways(present: str | None, revision: str) -> None:
    """Raises SchemaError for a schema that is too old to upgrade, or for a way down that is not to 'base'."""
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


def _refuse_while_watched(url: str) -> None:
    """The way to 'base' is refused while something is watched, and at once rather than half-way."""
    with _connected(url) as connection:
        if connection.execute("select to_regclass('sidecar_internal.watches')").fetchone() == (None,):
            return
        watched = connection.execute("select from sidecar_internal.watches where unwatched_at is null limit 1")
        if watched.fetchone() is not None:
            raise StatementRejected(
                "there are active watches",
                "2BP01",
                "End each of them first: select sidecar.unwatch(relation, target) from sidecar.status;",
            )


def current_revision(url: str) -> str | None:
    """The revision the database is at. None before the first migration, and where its row was not restored.

    Raises DatabaseUnavailable, StatementRejected.
    """
    with _connected(url) as connection:
        if connection.execute("select to_regclass('sidecar.alembic_version')").fetchone() == (None,):
            return None
        row = connection.execute("select version_num from sidecar.alembic_version").fetchone()
    return None if row is None else str(row[0])


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with _translated(url), connect(url, autocommit=True) as connection:
        for statement in (*SETTINGS, LOCK_TIMEOUT):
            connection.execute(statement)
        yield connection


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """The edge to psycopg and SQLAlchemy. Raises DatabaseUnavailable, StatementRejected."""
    try:
        yield
    except (sqlalchemy.exc.DBAPIError, psycopg.Error) as error:
        cause = getattr(error, "orig", error)
        if not isinstance(cause, psycopg.Error) or cause.sqlstate is None or cause.sqlstate.startswith(("08", "57P")):
            raise DatabaseUnavailable(f"cannot migrate {redact(url)}: {redact(str(cause)).strip()}") from error
        hint = cause.diag.message_hint or _HINTS.get(cause.sqlstate)
        raise StatementRejected(cause.diag.message_primary or str(cause), cause.sqlstate, hint) from error
