"""Cancels a long statement of ours as soon as a user's session waits for it."""

from __future__ import annotations

import asyncio
import logging

from sidecar.errors import DatabaseError
from sidecar.ingest.context import Context
from sidecar.postgres.statements import statement

logger = logging.getLogger(__name__)

BLOCKING_CHECK_INTERVAL_S = 0.2  # well below deadlock_timeout, which is 1 s by default


async def cancel_if_blocking(context: Context, pid: int, what: str) -> None:
    """Cancels what the backend `pid` runs whenever a session waits for it, until cancelled. `what` is for the log."""
    could_check = True
    while True:
        await asyncio.sleep(BLOCKING_CHECK_INTERVAL_S)
        try:
            await context.guard.hold()
            async with context.database.connection() as connection:
                if await connection.fetchval(statement("is_build_blocking"), pid):
                    await connection.execute(statement("cancel_build"), pid)
            could_check = True
        except DatabaseError as error:
            if could_check:
                logger.warning("could not see whether anybody waits for %s: %s", what, error)
            could_check = False
