"""Keyset scans over a watched table: backfill, sweep, and clearing vectors of another space.

A page of events and the cursor behind it are committed together, so a crash neither repeats nor skips a page. The
scan's row is locked with SKIP LOCKED: one sidecar at a time turns the pages, the others pass by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.postgres.queries import statement
from sidecar.postgres.watches import Watch

if TYPE_CHECKING:
    import asyncpg

    from sidecar.postgres.database import Connection


@dataclass(frozen=True, slots=True)
class Page:
    """`rows` were looked at, `enqueued` of them were enqueued; `last` means the scan is finished."""

    rows: int
    enqueued: int
    last: bool


async def backfill_page(connection: Connection, watch: Watch, max_rows: int) -> Page | None:
    """Enqueues the next keys. None: no unfinished backfill, or another sidecar is at it."""
    async with connection.transaction():
        scan = await connection.fetchrow(statement("lock_scan"), watch.id, "backfill")
        if scan is None:
            return None
        if scan["last_key"] is None:
            record = await connection.fetchrow(watch.sql("backfill_first_page"), max_rows, scan["force"])
        else:
            record = await connection.fetchrow(
                watch.sql("backfill_next_page"), max_rows, scan["force"], scan["last_key"]
            )
        return await _save(connection, watch, "backfill", record, max_rows)


async def sweep_page(connection: Connection, watch: Watch, max_rows: int) -> Page | None:
    """Looks at the next keys and enqueues those that no event told of. The last page also finds deleted rows."""
    return await _turn_page(connection, watch, "sweep", "", max_rows)


async def clear_page(connection: Connection, watch: Watch, max_rows: int) -> Page | None:
    """Sets the next vectors to NULL and forgets their ledger entries. Raises Contention where a row is locked."""
    place = "_in_companion" if watch.has_companion else "_in_row"
    return await _turn_page(connection, watch, "clear", place, max_rows)


async def _turn_page(connection: Connection, watch: Watch, purpose: str, place: str, max_rows: int) -> Page | None:
    async with connection.transaction():
        scan = await connection.fetchrow(statement("lock_scan"), watch.id, purpose)
        if scan is None:
            return None
        if scan["last_key"] is None:
            record = await connection.fetchrow(watch.sql(f"{purpose}_first_page{place}"), max_rows)
        else:
            record = await connection.fetchrow(watch.sql(f"{purpose}_next_page{place}"), max_rows, scan["last_key"])
        page = await _save(connection, watch, purpose, record, max_rows)
        if purpose == "sweep" and page.last:
            await connection.execute(watch.sql("sweep_orphans"))
        return page


async def _save(
    connection: Connection, watch: Watch, purpose: str, record: asyncpg.Record | None, max_rows: int
) -> Page:
    rows = 0 if record is None else record["rows"]
    enqueued = 0 if record is None else record.get("enqueued", rows)
    finished = rows < max_rows
    last_key = None if record is None else record["last_key"]
    await connection.execute(statement("save_scan"), watch.id, purpose, last_key, finished)
    return Page(rows, enqueued, finished)


async def start_sweep(connection: Connection, watch: Watch, interval_s: float) -> bool:
    """Starts a sweep if the last one ended at least `interval_s` ago; the first comes one interval after the watch."""
    return bool(await connection.fetchval(statement("start_sweep"), watch.id, interval_s))


async def outstanding_backfill(connection: Connection, watch: Watch, at_most: int) -> int:
    """Backfill events not yet completed, counted up to `at_most`."""
    return int(await connection.fetchval(watch.sql("outstanding_backfill"), at_most))
