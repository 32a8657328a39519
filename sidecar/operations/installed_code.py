"""Replaces functions, views and triggers by today's definitions in sql/code, with each `sidecar migrate`."""

from __future__ import annotations

import logging
import time
from typing import Any

import psycopg
from sqlalchemy import Connection, text

from sidecar.postgres.shipped import code_digest, head_revision, read_code
from sidecar.postgres.statements import read_statements

logger = logging.getLogger(__name__)

TRIGGER_ATTEMPTS, TRIGGER_LOCK_TIMEOUT_MS, TRIGGER_PAUSE_S = 20, 100, 0.1  # writers to the table wait 0.1 s at most

_SQL = read_statements("sidecar.operations", "installed_code.sql")
_INSTALLATION = read_statements("sidecar.operations", "installation.sql")


def install_code(connection: Connection, *, force: bool = False) -> bool:
    """Replaces all functions and views, in the caller's transaction. Returns False if they were today's already.

    `force`: replaces them even if they are current, as after a restore, which may have left some out.
    """
    is_current = _installed(connection) == (head_revision(), code_digest())
    if is_current and not force and not connection.execute(text(_SQL["is_public"])).scalar():
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


def renew_triggers(connection: psycopg.Connection[Any]) -> None:
    """Replaces the triggers that an older version made on users' tables, after the migration and apart from it.

    Each watch has a short transaction of its own: the migration's would lock all watched tables until its end. A table
    in use keeps its old triggers, which work; a warning has the statement that renews them. `connection` is in
    autocommit mode.
    """
    for watch_id, table in connection.execute(_SQL["watches_with_old_triggers"].encode()).fetchall():
        if (problem := _renew_triggers_of(connection, watch_id)) is not None:
            logger.warning(
                "the triggers of watch %d on %s are those of an older version (%s). They work; to renew "
                "them, run as the table's owner: select sidecar.renew_triggers(%d);",
                *(watch_id, table, problem, watch_id),
            )


def _renew_triggers_of(connection: psycopg.Connection[Any], watch_id: int) -> str | None:
    """Replaces the triggers of one watch. Returns why it could not, or None."""
    problem = None
    for attempt in range(TRIGGER_ATTEMPTS):
        if attempt:
            time.sleep(TRIGGER_PAUSE_S)
        try:
            with connection.transaction():
                connection.execute(_SQL["limit_lock_wait"].encode(), [f"{TRIGGER_LOCK_TIMEOUT_MS}ms"])
                connection.execute(_SQL["renew_triggers"].encode(), [watch_id])
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            problem = "the table is in use"
        except psycopg.errors.InsufficientPrivilege as error:
            return str(error.diag.message_primary)
        else:
            return None
    return problem
