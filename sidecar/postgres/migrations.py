"""Runs the Alembic migrations, from an installed package as well as from a checkout."""

from __future__ import annotations

import io

import alembic.util
import psycopg
import sqlalchemy
from alembic import command, op
from alembic.config import Config

from sidecar.errors import DatabaseUnavailable, SchemaError, StatementRejected
from sidecar.postgres.address import read_address
from sidecar.postgres.shipped import head_revision, migrations_directory, sql_directory
from sidecar.postgres.trigger_renewal import renew_triggers
from sidecar.redaction import redact

__all__ = [
    "current_revision",
    "head_revision",
    "migrate",
    "migrations_directory",
    "run_sql_file",
    "sql_directory",
    "sqlalchemy_url",
]

_OLDEST = "0016"  # the baseline


def sqlalchemy_url(url: str) -> sqlalchemy.URL:
    """An address as libpq reads it, as SQLAlchemy wants it, with the psycopg driver. Raises ConfigurationError."""
    rest = dict(read_address(url).given)
    user, password, database = (rest.pop(name, None) for name in ("user", "password", "dbname"))
    host, port = rest.get("host", ""), rest.get("port", "")
    if host and not host.startswith("/") and "," not in host + port:  # others go to libpq as they are
        del rest["host"]
        rest.pop("port", None)
    else:
        host, port = "", ""
    return sqlalchemy.URL.create(
        "postgresql+psycopg", user, password, host or None, int(port) if port else None, database, rest
    )


def run_sql_file(name: str) -> None:
    """Runs all statements of one file in the migration's transaction. For use inside a migration only."""
    script = (sql_directory() / name).read_text(encoding="utf-8")
    connection = op.get_bind().connection.dbapi_connection
    assert connection is not None
    # Without parameters psycopg sends the text as it is: many statements, and % means itself.
    connection.cursor().execute(script)


def _config(url: str, output: io.StringIO | None = None) -> Config:
    config = Config(stdout=output) if output is not None else Config()
    config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["database_url"] = url
    return config


def migrate(url: str, revision: str = "head") -> None:
    """Brings the tables of schema `sidecar` to `revision` and, at head, its code to today's; 'base' removes both.

    Raises DatabaseUnavailable, SchemaError, StatementRejected.
    """
    _refuse_unknown_ways(current_revision(url), revision)
    if revision == "base":
        _refuse_while_watched(url)
    try:
        (command.downgrade if revision == "base" else command.upgrade)(_config(url, io.StringIO()), revision)
        if current_revision(url) == head_revision():
            renew_triggers(url)
    except alembic.util.CommandError as error:
        raise SchemaError(
            f"cannot migrate to {revision!r}: {error}; known are 'head', 'base' and up to {head_revision()}"
        ) from error
    except sqlalchemy.exc.OperationalError as error:
        raise DatabaseUnavailable(f"cannot migrate {redact(url)}: {error.orig}") from error
    except (sqlalchemy.exc.DBAPIError, psycopg.Error) as error:
        raise _rejected(error) from error


def _refuse_unknown_ways(present: str | None, revision: str) -> None:
    """Raises SchemaError for a schema that is too old to upgrade, or for a way down that is not to 'base'."""
    if present is not None and present < _OLDEST:
        raise SchemaError(
            f"the schema `sidecar` is at {present}; this version upgrades from {_OLDEST} on. Run the `sidecar migrate` "
            "of the version before this one first"
        )
    if present is not None and revision not in {"head", "base"} and revision < present:
        raise SchemaError(
            f"the schema `sidecar` is at {present}: there is no way down to {revision!r}, only to 'base', which "
            "removes it"
        )


def _refuse_while_watched(url: str) -> None:
    """The way to 'base' is refused while something is watched, and at once rather than half-way."""
    if current_revision(url) is None:
        return
    with psycopg.connect(url, connect_timeout=10) as connection:
        if connection.execute("select from sidecar.watches where unwatched_at is null limit 1").fetchone() is not None:
            raise StatementRejected(
                "there are active watches",
                "2BP01",
                "End each of them first: "
                "select sidecar.unwatch(relation, target) from sidecar.watches where unwatched_at is null;",
            )


def _rejected(error: Exception) -> StatementRejected:
    cause = getattr(error, "orig", error)
    if not isinstance(cause, psycopg.Error):
        return StatementRejected(str(cause), "XX000")
    return StatementRejected(
        cause.diag.message_primary or str(cause), cause.sqlstate or "XX000", cause.diag.message_hint
    )


def current_revision(url: str) -> str | None:
    """The revision the database is at; None before the first migration. Raises DatabaseUnavailable."""
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            if connection.execute("select to_regclass('sidecar.alembic_version')").fetchone() == (None,):
                return None
            row = connection.execute("select version_num from sidecar.alembic_version").fetchone()
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"cannot connect to {redact(url)}: {error}") from error
    return None if row is None else str(row[0])
