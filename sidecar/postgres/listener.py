"""Listens for notifications on a connection of its own.

A notification carries no data: it says to look into the tables. So calling `on_wake` after each (re)connect makes up
for all notifications that were missed.

asyncpg notices a lost peer only when TCP gives up, minutes later, so an idle connection is pinged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from sidecar.concurrency import Backoff
from sidecar.errors import DatabaseError, DatabaseUnavailable, StatementRejected
from sidecar.postgres.database import open_session, reconnect_backoff, translate_asyncpg_errors
from sidecar.postgres.liveness import LivenessLock
from sidecar.postgres.outage import Outage, SessionTrouble
from sidecar.postgres.statements import statement
from sidecar.postgres.trouble_log import TroubleLog
from sidecar.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    import asyncpg

logger = logging.getLogger(__name__)

CHANNELS = ("sidecar", "sidecar_watches")
PING_INTERVAL_S = 5.0
PING_TIMEOUT_S = 5.0
POOLER_RETRY_S = 30.0  # after a refusal to LISTEN, which only another configuration changes


class Listener:
    """Calls `on_wake(channel)` on the event loop for each notification and after each connect.

    The liveness lock is held on this connection: it lasts as long as the process.
    """

    def __init__(
        self,
        url: SecretStr,
        on_wake: Callable[[str], None],
        telemetry: Telemetry | None = None,
        liveness: LivenessLock | None = None,
        outage: Outage | None = None,
    ) -> None:
        self._url = url
        self._on_wake = on_wake
        self._liveness = liveness
        self._telemetry = telemetry or Telemetry()
        self.connected = False
        trouble = TroubleLog(logger, "notifications are not received (polling continues)")
        self._trouble = SessionTrouble(trouble, outage or Outage())
        self._telemetry.set_listener_connected(connected=False)

    async def run(self) -> None:
        """Connects, listens, pings and reconnects until cancelled."""
        backoff = reconnect_backoff()
        while True:
            try:
                connection = await open_session(self._url)
            except StatementRejected as error:
                self._trouble.refused(error)
                backoff = Backoff(POOLER_RETRY_S, POOLER_RETRY_S)
            except DatabaseError as error:
                self._trouble.refused(error)
            else:
                backoff = reconnect_backoff()
                await self._listen(connection)
            await asyncio.sleep(backoff.next_s())

    async def _listen(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Listens until the connection is lost."""
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _connection: lost.set())
        try:
            with translate_asyncpg_errors():
                await self._hold_liveness(connection)
                for channel in CHANNELS:
                    await connection.add_listener(channel, self._notified)
                self._is_connected(True)
                self._trouble.opened()
                for channel in CHANNELS:
                    self._on_wake(channel)
                while not lost.is_set():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(lost.wait(), PING_INTERVAL_S)
                    await self._ping(connection)
                    await self._hold_liveness(connection)
        except DatabaseError as error:
            self._trouble.lost(error)
        finally:
            self._is_connected(False)
            if self._liveness is not None:
                self._liveness.mark_lost()
            connection.terminate()

    async def _ping(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Raises DatabaseUnavailable if the server accepts no writes: notifications come from another server now."""
        if await connection.fetchval(statement("ping"), timeout=PING_TIMEOUT_S):
            raise DatabaseUnavailable("the server that it listened to no longer accepts writes")

    async def _hold_liveness(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        if self._liveness is not None and not self._liveness.held:
            await self._liveness.acquire(connection)

    def _is_connected(self, connected: bool) -> None:
        self.connected = connected
        self._telemetry.set_listener_connected(connected)

    def _notified(self, _connection: Any, _pid: int, channel: str, _payload: object) -> None:
        self._telemetry.notification_received()
        self._on_wake(channel)
