"""Watches over the sessions of sidecars from inside the server, so that one that is frozen holds no lock of a user's.

A process that is stopped, or whose machine is, between two messages of the extended protocol leaves its session
`active`, waiting for the rest. In that state no idle timeout counts, and a statement timeout is not heeded before the
next message comes (seen on 16 and 18 after each of Parse, Bind and Execute); only `transaction_timeout` is, from
Postgres 17 on, and it cannot tell a sidecar that is frozen from one that is slow. So one more session runs a loop in
the server: it needs nobody who is awake on our side. It also ends an index build that somebody waits for and whose own
sidecar does not.

It runs only while something of ours may hold such a lock: from each call of `hold` on, for ten seconds. Its rounds are
transactions of a tenth of a second, because a user's CREATE INDEX CONCURRENTLY waits for each transaction that has a
snapshot, and fails where its lock_timeout is shorter. The server counts them when the loop ends, all at once.
"""

from __future__ import annotations

import asyncio
import logging
import time

from sidecar.errors import DatabaseError
from sidecar.postgres.database import Database, disconnect, translate_asyncpg_errors
from sidecar.postgres.statements import statement
from sidecar.postgres.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

RETRY_S = 1.0
HOLD_S = 10.0


class SessionGuard:
    """`run` is a task of ingest; all that may lock what is a user's calls `hold` before."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._trouble = TroubleLog(logger, "the guard of the sidecar's sessions cannot run")
        self._held_until = float("-inf")  # on the clock of time.monotonic
        self._wanted = asyncio.Event()
        self._runs = asyncio.Event()  # or could not be started: rows do not wait for it

    async def hold(self) -> None:
        """Returns when the guard runs, or could not be started; it goes on for HOLD_S seconds."""
        self._held_until = time.monotonic() + HOLD_S
        self._wanted.set()
        await self._runs.wait()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._watch()
            except DatabaseError as error:
                self._trouble.report(error)
            self._runs.set()
            await asyncio.sleep(RETRY_S)

    async def _watch(self) -> None:
        """Returns only by an error: DatabaseError."""
        with translate_asyncpg_errors():
            connection = await self._database.connect_outside_pool()
            try:
                await connection.execute(statement("prepare_guard"))
                self._trouble.over()
                while True:
                    if time.monotonic() >= self._held_until:
                        self._runs.clear()
                        self._wanted.clear()
                        await self._wanted.wait()
                    self._runs.set()  # whoever waits for it goes on when the statement is on its way
                    await connection.execute(_loop_of(self._held_until - time.monotonic()))
            finally:
                await disconnect(connection)


def _loop_of(for_s: float) -> str:
    """A DO statement takes no parameters, and behind a pooler a setting of the session would be another session's."""
    return statement("guard_sessions").replace("interval '10 s'", f"interval '{max(for_s, 0):.3f} s'")
