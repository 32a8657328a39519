"""What a TRUNCATE leaves to clear: ledger, failures and companion rows of lower generation.

Of the watched table: results that were read before are void, and nothing else is to be done.
Of a companion, by a user: the rows are still there, so they are looked at again, as by a first backfill. Results on
their way need not be void: their ledger entries vanish, which tells `complete`.
"""

from __future__ import annotations

import asyncio

from sidecar.errors import Contention
from sidecar.postgres.database import Database
from sidecar.postgres.events import Event, Lease
from sidecar.postgres.queries import statement
from sidecar.postgres.watches import Watch

CHUNK_BLOCKS = 128  # about 5,000 entries
LOCKED_S, TRIES = (
    0.02,
    10,
)  # what a complete has locked is tried again soon, what a user has, after the watch had a rest


async def clear_truncated(database: Database, watch: Watch, lease: Lease, event: Event) -> None:
    """Clears in chunks, then ends the event. Repeatable. Raises Contention where a user is deleting vectors himself."""
    clear = watch.sql("clear_truncated_in_companion" if watch.has_companion else "clear_truncated_in_row")
    async with database.connection() as connection:
        if not is_of_companion(event):
            await connection.execute(statement("raise_truncated_gen"), watch.id, event.gen)
        blocks = await connection.fetchval(watch.sql("ledger_blocks"))
        for block in range(0, blocks, CHUNK_BLOCKS):
            tries = 0
            while left := await connection.fetchval(clear, event.gen, block, block + CHUNK_BLOCKS):
                tries += 1
                if tries == TRIES:
                    raise Contention(f"{left} vectors of rows that are gone are locked")
                await asyncio.sleep(LOCKED_S)
        if is_of_companion(event):
            await connection.execute(watch.sql("begin_anew"), event.gen, lease.token)
        else:
            await connection.execute(watch.sql("delete_events"), [event.gen], lease.token)


def is_of_companion(event: Event) -> bool:
    return event.key is None and event.force
