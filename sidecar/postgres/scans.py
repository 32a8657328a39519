"""Scans over a watched table: backfill, sweep, verify, clearing and moving vectors.

A page of events and the cursor behind it are committed together, so a crash neither repeats nor skips a page. The
scan's row is locked with SKIP LOCKED: one sidecar at a time turns the pages, the others pass by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.errors import StatementRejected
from sidecar.postgres.database import translated
from sidecar.postgres.queries import statement
from sidecar.postgres.rows import is_data_fault
from sidecar.postgres.watches import Watch

if TYPE_CHECKING:
    import asyncpg

    from sidecar.postgres.database import Connection


MOVE_PAGE_ROWS = 200  # into the row, each is a write to the user's table under its lock


@dataclass(frozen=True, slots=True)
class Page:
    """`rows` were looked at, `enqueued` of them were enqueued; `last` means the scan is finished.

    `wait_s`: the next page is due then, for the sake of everybody else who uses the database.
    """

    rows: int
    enqueued: int
    last: bool
    wait_s: float = 0.0


async def backfill_page(connection: Connection, watch: Watch, max_rows: int) -> Page | None:
    """Enqueues the next keys. None: no unfinished backfill, or another sidecar is at it.

    Where vectors have to move to another home first, it moves some of them and enqueues nothing.
    """
    if "move" in watch.scans and (moved := await _move_page(connection, watch)) is not None:
        return moved
    async with connection.transaction():
        scan = await _lock(connection, watch, "backfill")
        if scan is None:
            return None
        if scan["last_key"] is None:
            record = await connection.fetchrow(watch.sql("backfill_first_page"), max_rows, scan["force"])
        else:
            record = await connection.fetchrow(
                watch.sql("backfill_next_page"), max_rows, scan["force"], scan["last_key"]
            )
        return await _save(connection, watch, "backfill", record, max_rows)


async def _move_page(connection: Connection, watch: Watch) -> Page | None:
    """Carries the next vectors to their new home, unencoded. The backfill follows, so this never is the last page."""
    async with connection.transaction():
        if await _lock(connection, watch, "move") is None:
            return None
        rows = await connection.fetchval(statement("move_page"), watch.id, MOVE_PAGE_ROWS)
        await connection.execute(statement("save_scan"), watch.id, "move", None, rows < MOVE_PAGE_ROWS)
        return Page(rows, enqueued=0, last=False)


async def sweep_page(connection: Connection, watch: Watch, max_rows: int) -> Page | None:
    """Looks at the next keys and enqueues those that no event told of. The last page also finds deleted rows."""
    return await _turn_page(connection, watch, "sweep", "", max_rows)


async def clear_page(connection: Connection, watch: Watch, max_rows: int) -> Page | None:
    """Sets the next vectors to NULL and forgets their ledger entries. Raises Contention where a row is locked."""
    place = "_in_companion" if watch.has_companion else "_in_row"
    return await _turn_page(connection, watch, "clear", place, max_rows)


async def _turn_page(connection: Connection, watch: Watch, purpose: str, place: str, max_rows: int) -> Page | None:
    async with connection.transaction():
        scan = await _lock(connection, watch, purpose)
        if scan is None:
            return None
        if scan["last_key"] is None:
            record = await connection.fetchrow(watch.sql(f"{purpose}_first_page{place}"), max_rows)
        else:
            record = await connection.fetchrow(watch.sql(f"{purpose}_next_page{place}"), max_rows, scan["last_key"])
        page = await _save(connection, watch, purpose, record, max_rows)
        if purpose == "sweep" and page.last:
            await _enqueue_strays(connection, watch)
        return page


async def verify_page(
    connection: Connection, watch: Watch, max_rows: int, bytes_per_s: float, page_bytes: int
) -> Page | None:
    """Compares the next rows with the ledger, about `page_bytes` of them, and enqueues those that differ. The last page
    also finds ledger entries and vectors without a row. All sidecars together keep to `bytes_per_s`. A row that cannot
    be read fails its page: smaller ones lead up to it, and it is enqueued alone.
    """
    while True:
        try:
            with translated():
                return await _verify_rows(connection, watch, max_rows, bytes_per_s, page_bytes)
        except StatementRejected as error:
            if not is_data_fault(error):
                raise
            if max_rows == 1:
                return await _pass_unreadable(connection, watch)
            max_rows = max(max_rows // 4, 1)


async def _pass_unreadable(connection: Connection, watch: Watch) -> Page | None:
    async with connection.transaction():
        scan = await _lock(connection, watch, "verify")
        if scan is None:
            return None
        if scan["last_key"] is None:
            record = await connection.fetchrow(watch.sql("verify_first_key"))
        else:
            record = await connection.fetchrow(watch.sql("verify_next_key"), scan["last_key"])
        if record is None:
            return Page(0, 0, last=False)
        found = record["enqueued"]
        await connection.execute(
            statement("save_verify"), watch.id, "verify", record["last_key"], False, 1, 0, found, 0.0
        )
        return Page(1, found, last=False)


async def _verify_rows(
    connection: Connection, watch: Watch, max_rows: int, bytes_per_s: float, page_bytes: int
) -> Page | None:
    async with connection.transaction():
        scan = await _lock(connection, watch, "verify")
        if scan is None or scan["wait_s"] > 0:
            return None if scan is None else Page(0, 0, last=False, wait_s=scan["wait_s"])
        if scan["last_key"] is None:
            record = await connection.fetchrow(watch.sql("verify_first_page"), max_rows, page_bytes)
        else:
            record = await connection.fetchrow(watch.sql("verify_next_page"), max_rows, page_bytes, scan["last_key"])
        assert record is not None, "a select of aggregates has one row"
        found, size_bytes = record["enqueued"], record["bytes"] or 0
        if record["finished"]:
            found += await _enqueue_strays(connection, watch)
        wait_s = size_bytes / bytes_per_s
        last_key = record["last_key"] or scan["last_key"]
        await connection.execute(
            statement("save_verify"),
            *(watch.id, "verify", last_key, record["finished"], record["rows"], size_bytes, found, wait_s),
        )
        return Page(record["rows"], found, record["finished"], wait_s)


async def _enqueue_strays(connection: Connection, watch: Watch) -> int:
    place = "companion" if watch.has_companion else "row"
    return int(await connection.fetchval(watch.sql(f"strays_in_{place}")))


async def _lock(connection: Connection, watch: Watch, purpose: str) -> asyncpg.Record | None:
    tables = (watch.identifiers.table, watch.identifiers.companion)
    return await connection.fetchrow(statement("lock_scan"), watch.id, purpose, *tables)


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
