"""What a TRUNCATE leaves to clear: ledger, failures and companion rows of lower generation."""

from __future__ import annotations

from sidecar.postgres.database import Database
from sidecar.postgres.events import Lease
from sidecar.postgres.queries import statement
from sidecar.postgres.watches import Watch


async def clear_truncated(database: Database, watch: Watch, lease: Lease, gen: int) -> None:
    """Makes results at or below `gen` void first, then clears in chunks, then deletes the event. Repeatable."""
    clear = watch.sql("clear_truncated_in_companion" if watch.has_companion else "clear_truncated_in_row")
    async with database.connection() as connection:
        await connection.execute(statement("raise_truncated_gen"), watch.id, gen)
        while await connection.fetchval(clear, gen):
            pass
        await connection.execute(watch.sql("delete_events"), [gen], lease.token)
