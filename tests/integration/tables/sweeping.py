"""Runs a sweep at once; by default one runs every hour. It finds changes that no event reported."""

from __future__ import annotations

from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, value
from tests.waiting import wait_until_async


async def sweep(db: Connection, table: WatchedTable, encoder: GatedEncoder) -> None:
    """Starts a sweep as the scanner does every hour, waits until it is done, and checks every vector."""
    await run(
        db,
        """
        insert into sidecar_internal.scans (watch_id, purpose) values (%s, 'sweep') on conflict (watch_id, purpose)
            do update set last_key = null, started_at = now(), finished_at = null
        """,
        table.watch_id,
    )
    await run(db, "notify sidecar_watches")
    await table.settle_right(encoder)


async def until_clean(db: Connection, table: WatchedTable) -> None:
    """Waits until the ledger has an entry for every row of the table and no others."""

    async def is_clean() -> bool:
        entries = await table.count("ledger", "content_hash is not null")
        return entries == len(await table.contents())

    await wait_until_async(is_clean, "the ledger to know the rows of the table alone")
    assert await value(db, "select failed from sidecar.status where watch_id = %s", table.watch_id) == 0
