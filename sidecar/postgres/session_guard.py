"""Ends sessions of frozen sidecars from inside the server, so that they do not keep locks on users' rows.

A process that is stopped (or its machine) between two messages of the extended protocol leaves its session `active`,
waiting for the rest. In that state idle timeouts do not apply, and a statement timeout fires only when the next message
comes (seen on 16 and 18 after each of Parse, Bind and Execute). Only `transaction_timeout` fires, from Postgres 17 on,
and it cannot distinguish a frozen sidecar from a slow one. So the guard is one more session that runs a loop in the
server, where it needs no process that is awake. It also cancels an index build that blocks a statement, if the build's
own sidecar does not.

The guard runs only while a sidecar may hold such a lock: for ten seconds after each call of `hold`. Its rounds are
transactions of a tenth of a second, because a user's CREATE INDEX CONCURRENTLY waits for each transaction that has a
snapshot, and fails if its lock_timeout is shorter. The server's statistics count them all at once, when the loop ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from sidecar.errors import DatabaseError
from sidecar.postgres.database import Database, close_session, translate_asyncpg_errors
from sidecar.postgres.outage import SessionTrouble
from sidecar.postgres.statements import statement
from sidecar.postgres.trouble_log import TroubleLog

if TYPE_CHECKING:
    import asyncpg

logger = logging.getLogger(__name__)

RETRY_S = 1.0
HOLD_S = 10.0


class SessionGuard:
    """`run` is a task of ingest; whatever may lock users' rows or tables calls `hold` first."""

    def __init__(self, database: Database) -> None:
        self._database = database
        trouble = TroubleLog(logger, "the guard of the sidecar's sessions cannot run")
        self._trouble = SessionTrouble(trouble, database.outage)
        self._held_until = float("-inf")  # on the clock of time.monotonic
        self._wanted = asyncio.Event()
        self._runs = asyncio.Event()  # also set if the guard could not start: rows do not wait for it

    async def hold(self) -> None:
        """Keeps the guard running for HOLD_S seconds. Returns once it runs, or could not be started."""
        self._held_until = time.monotonic() + HOLD_S
        self._wanted.set()
        await self._runs.wait()

    async def run(self) -> None:
        """Runs the guard while it is held, until cancelled."""
        while True:
            try:
                connection = await self._database.connect_outside_pool()
            except DatabaseError as error:
                self._trouble.refused(error)
            else:
                try:
                    await self._run_guard(connection)
                except DatabaseError as error:
                    self._trouble.lost(error)
                finally:
                    await close_session(connection)
            self._runs.set()
            await asyncio.sleep(RETRY_S)

    async def _run_guard(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Ends only with an error: DatabaseError."""
        with translate_asyncpg_errors():
            await connection.execute(statement("prepare_guard"))
            self._trouble.opened()
            while True:
                if time.monotonic() >= self._held_until:
                    self._runs.clear()
                    self._wanted.clear()
                    await self._wanted.wait()
                self._runs.set()  # callers of `hold` continue when the statement is on its way
                await connection.execute(_guard_statement(self._held_until - time.monotonic()))


def _guard_statement(for_s: float) -> str:
    """The guard's loop, for `for_s` seconds. A DO statement has no parameters, and a pooler loses session settings."""
    return statement("guard_sessions").replace("interval '10 s'", f"interval '{max(for_s, 0):.3f} s'")
