"""The service's session on tables that are not watched: it only reads, briefly, and runs nothing of another role.

A table's owner could have the service's role run a function: by a row-level policy, or by an operator in a schema of
the search_path. Here policies raise an error instead, and names are those of pg_catalog; a user's must be qualified.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.rows import Row
from pydantic import SecretStr

from sidecar.errors import StatementRejected, TimedOut
from sidecar.operations.session import (
    CommandCursor,
    Connection,
    connect_as_user,
    require_schema,
    translate_psycopg_errors,
)
from sidecar.postgres.session_settings import COMMAND_SETTINGS, set_settings

STATEMENT_TIMEOUT_S = 10
_LOCK_TIMEOUT_S = 2
_QUERY_CANCELED, _LOCK_NOT_AVAILABLE = "57014", "55P03"


class ReadingCursor(CommandCursor[Row]):
    settings = set_settings(
        {
            **COMMAND_SETTINGS,
            "search_path": "pg_catalog, pg_temp",
            "row_security": "off",
            "transaction_read_only": "on",
            "statement_timeout": f"{STATEMENT_TIMEOUT_S}s",
            "lock_timeout": f"{_LOCK_TIMEOUT_S}s",
        },
        local=True,
    )


@contextmanager
def connect_to_read(url: SecretStr) -> Iterator[Connection]:
    """Raises DatabaseUnavailable, SchemaError, StatementRejected; TimedOut if one statement takes or waits too long."""
    with connect_as_user(url) as connection:
        connection.cursor_factory = ReadingCursor
        try:
            with translate_psycopg_errors():
                require_schema(connection)
                yield connection
        except StatementRejected as error:
            timed_out = _timed_out(error)
            if timed_out is None:
                raise
            raise timed_out from error


def _timed_out(error: StatementRejected) -> TimedOut | None:
    if error.sqlstate == _QUERY_CANCELED:
        return TimedOut(
            f"The table could not be looked at in {STATEMENT_TIMEOUT_S} s for each statement: {error.message}"
        )
    if error.sqlstate == _LOCK_NOT_AVAILABLE:
        return TimedOut(f"Another session has locked the table for more than {_LOCK_TIMEOUT_S} s: {error.message}")
    return None
