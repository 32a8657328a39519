"""Watches over the sessions of sidecars from inside the server, so that one that is frozen holds no lock of a user's.

A process that is stopped, or whose machine is, between two messages of the extended protocol leaves its session
`active`, waiting for the rest. In that state no idle timeout counts, and a statement timeout is not heeded before the
next message comes (seen on 16 and 18 after each of Parse, Bind and Execute); only `transaction_timeout` is, from
Postgres 17 on, and it cannot tell a sidecar that is frozen from one that is slow. So one more session runs a loop in
the server: it needs nobody who is awake on our side. It also ends an index build that somebody waits for and whose own
sidecar does not.

Its sleeps are short transactions of their own, so it holds back no vacuum, and it starts anew every minute, so it is
no long-running statement.
"""

from __future__ import annotations

import asyncio
import logging

from sidecar.errors import DatabaseError
from sidecar.postgres.database import Database, disconnect, translated
from sidecar.postgres.queries import statement
from sidecar.postgres.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

RETRY_S = 1.0


class SessionGuard:
    """`started` is set when the guard runs, or could not be started at the first try: writing may begin."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._trouble = TroubleLog(logger, "the guard of the sidecar's sessions cannot run")
        self.started = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._watch()
            except DatabaseError as error:
                self._trouble.report(error)
            self.started.set()
            await asyncio.sleep(RETRY_S)

    async def _watch(self) -> None:
        """Returns only by an error: DatabaseError."""
        with translated():
            connection = await self._database.connect_alone()
            try:
                await connection.execute(statement("prepare_guard"))
                self._trouble.over()
                while True:
                    self.started.set()  # whoever waits for it goes on when the statement is on its way
                    await connection.execute(statement("guard_sessions"))
            finally:
                await disconnect(connection)
