"""Replaces the triggers that an older version made on users' tables, after the migration and apart from it.

Each watch has a short transaction of its own: the migration's would hold locks on all watched tables until its end.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import psycopg

logger = logging.getLogger(__name__)

ATTEMPTS, LOCK_TIMEOUT_MS, PAUSE_S = 20, 100, 0.1  # whoever writes to the table waits 0.1 s at most

_LIST = """
select w.id, w.relation::text from sidecar_internal.watches w
where w.unwatched_at is null and sidecar_internal.has_old_triggers(w) order by w.id
"""


def renew_triggers(connection: psycopg.Connection[Any]) -> None:
    """A table that is in use keeps its old triggers, which work; a warning has the statement that renews them.

    `connection` is in autocommit mode.
    """
    for watch_id, table in connection.execute(_LIST).fetchall():
        if (problem := _renew(connection, watch_id)) is not None:
            logger.warning(
                "the triggers of watch %d on %s are those of an older version (%s). They work; to renew "
                "them, run as the table's owner: select sidecar.renew_triggers(%d);",
                *(watch_id, table, problem, watch_id),
            )


def _renew(connection: psycopg.Connection[Any], watch_id: int) -> str | None:
    """None: done. Otherwise why not."""
    problem = None
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S)
        try:
            with connection.transaction():
                connection.execute("select set_config('lock_timeout', %s, true)", [f"{LOCK_TIMEOUT_MS}ms"])
                connection.execute("select sidecar.renew_triggers(%s)", [watch_id])
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            problem = "the table is in use"
        except psycopg.errors.InsufficientPrivilege as error:
            return str(error.diag.message_primary)
        else:
            return None
    return problem
