"""Installs functions and views: each `sidecar migrate` replaces all of them by today's definitions in sql/code."""

from __future__ import annotations

from sqlalchemy import Connection, text

from sidecar.postgres.shipped import code_digest, head_revision, read_code
from sidecar.postgres.statements import read_statements

_SQL = read_statements("sidecar.operations", "installed_code.sql")
_INSTALLATION = read_statements("sidecar.operations", "installation.sql")


def install_code(connection: Connection, *, anew: bool = False) -> bool:
    """Replaces all functions and views, in the caller's transaction. Returns False if they were today's already.

    `anew`: replaces them in any case, as after a restore, which may have left some out.
    """
    is_current = _installed(connection) == (head_revision(), code_digest())
    if is_current and not anew and not connection.execute(text(_SQL["is_public"])).scalar():
        return False
    connection.execute(text(_SQL["prepare"]))
    driver = connection.connection.dbapi_connection
    assert driver is not None
    cursor = driver.cursor()
    record = _SQL["record"].format(revision=head_revision(), digest=code_digest())
    # Without parameters psycopg sends the text unchanged: it may hold many statements, and % needs no escape.
    for script in (*read_code(), record, _SQL["finish"]):
        cursor.execute(script)
    return True


def _installed(connection: Connection) -> tuple[str, str] | None:
    """The revision and digest of the installed code; None if they are not recorded."""
    if not connection.execute(text(_INSTALLATION["is_recorded"])).scalar():
        return None
    row = connection.execute(text(_INSTALLATION["recorded"])).one()
    return row.revision, row.code_digest
