"""Scans over a watched table, page by page: backfill, sweep, verification, and moving vectors. (Clearing: clearing.py.)

The events of a page and the cursor are committed together, so a crash neither repeats nor skips a page. The row of the
scan is locked with SKIP LOCKED: one sidecar at a time works on a scan, the others skip it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.errors import StatementRejected
from sidecar.postgres.database import translate_asyncpg_errors
from sidecar.postgres.rows import is_data_fault
from sidecar.postgres.statements import statement
from sidecar.postgres.watches import Watch

if TYPE_CHECKING:
    import asyncpg

    from sidecar.postgres.database import Connection


INSUFFICIENT_PRIVILEGE = "42501"
MOVE_PAGE_ROWS = 200  # moving into the row, each is a write to the user's table under its lock


@dataclass(frozen=True, slots=True)
class Page:
    """The result of a page: `rows` were read, `enqueued` of them were enqueued; `last`: the scan is finished.

    `wait_s`: the time to wait before the next page, to spare other users of the database.
    """

    rows: int
    enqueued: int
    last: bool
    wait_s: float = 0.0


async def backfill_page(connection: Connection, watch: Watch, max_rows: int) -> Page | None:
    """Enqueues the next keys. None: no unfinished backfill, or another sidecar works on it.

    If vectors have to be moved first, between row and companion, it moves some of them and enqueues nothing.
    """
    if "move" in watch.scans and (moved := await _move_page(connection, watch, max_rows)) is not None:
        return moved
    async with connection.transaction():
        scan = await _lock_scan(connection, watch, "backfill")
        if scan is None:
            return None
        record = await _fetch_page(connection, watch, "backfill_page", scan, max_rows, scan["force"])
        return await _save_scan(connection, watch, "backfill", record, max_rows)


async def _move_page(connection: Connection, watch: Watch, max_rows: int) -> Page | None:
    """Moves the next vectors between row and companion. The backfill follows, so this is never the last page.

    A row that cannot be updated, or whose vector is damaged, fails its page. The page is made smaller until the row is
    alone; then the row is left to the backfill.
    """
    max_rows = min(max_rows, MOVE_PAGE_ROWS)
    while True:
        try:
            with translate_asyncpg_errors():
                return await _move_rows(connection, watch, max_rows, statement("move_page"))
        except StatementRejected as error:
            if error.sqlstate == INSUFFICIENT_PRIVILEGE:
                raise
            if max_rows == 1:
                return await _move_rows(connection, watch, 1, watch.sql("skip_unmovable"))
            max_rows = max(max_rows // 4, 1)


async def _move_rows(connection: Connection, watch: Watch, max_rows: int, query: str) -> Page | None:
    """Moves vectors by `query`. Locks the watch first, unless it is locked by a change, which waits for the scan."""
    async with connection.transaction():
        await connection.execute(statement("limit_transaction_time"))
        if await connection.fetchval(statement("lock_watch"), watch.id) is None:
            return None
        await connection.execute(statement("limit_lock_waits"))
        if await _lock_scan(connection, watch, "move") is None:
            return None
        rows = await connection.fetchval(query, watch.id, max_rows)
        await connection.execute(statement("save_move"), watch.id, rows < max_rows)
        return Page(rows, enqueued=0, last=False)


async def sweep_page(connection: Connection, watch: Watch, max_rows: int) -> Page | None:
    """Enqueues rows that were changed without an event; then ledger entries and companion vectors without a row.

    None: no unfinished sweep, or another sidecar works on it.
    """
    async with connection.transaction():
        scan = await _lock_scan(connection, watch, "sweep")
        if scan is None:
            return None
        if scan["phase"] != "rows":
            return await _scan_without_rows(connection, watch, "sweep", scan, max_rows)
        record = await _fetch_page(connection, watch, "sweep_page", scan, max_rows)
        return await _save_scan(connection, watch, "sweep", record, max_rows, phase="rows")


async def verify_page(
    connection: Connection, watch: Watch, max_rows: int, bytes_per_s: float, page_bytes: int
) -> Page | None:
    """Compares rows, about `page_bytes` of them, with the ledger, and enqueues those that differ; then ledger entries
    and companion vectors without a row, like the sweep. All sidecars together keep to `bytes_per_s`.

    A row that cannot be read fails its page. The page is made smaller until the row is alone; then it is enqueued.
    """
    while True:
        try:
            with translate_asyncpg_errors():
                return await _verify_phase(connection, watch, max_rows, bytes_per_s, page_bytes)
        except StatementRejected as error:
            if not is_data_fault(error):
                raise
            if max_rows == 1:
                return await _skip_unreadable(connection, watch)
            max_rows = max(max_rows // 4, 1)


async def _skip_unreadable(connection: Connection, watch: Watch) -> Page | None:
    async with connection.transaction():
        scan = await _lock_scan(connection, watch, "verify")
        if scan is None:
            return None
        record = await _fetch_page(connection, watch, "verify_key", scan)
        if record is None:
            return Page(0, 0, last=False)
        found = record["enqueued"]
        await connection.execute(
            statement("save_verify"), watch.id, "verify", record["last_key"], False, 1, 0, found, 0.0, "rows"
        )
        return Page(1, found, last=False)


async def _verify_phase(
    connection: Connection, watch: Watch, max_rows: int, bytes_per_s: float, page_bytes: int
) -> Page | None:
    async with connection.transaction():
        scan = await _lock_scan(connection, watch, "verify")
        if scan is None or scan["wait_s"] > 0:
            return None if scan is None else Page(0, 0, last=False, wait_s=scan["wait_s"])
        if scan["phase"] != "rows":
            return await _scan_without_rows(connection, watch, "verify", scan, max_rows)
        record = await _fetch_page(connection, watch, "verify_page", scan, max_rows, page_bytes)
        assert record is not None, "a select of aggregates has one row"
        found, size_bytes = record["enqueued"], record["bytes"] or 0
        wait_s = size_bytes / bytes_per_s
        phase = _next_phase(watch, "rows") if record["finished"] else "rows"
        last_key = None if record["finished"] else record["last_key"]
        await connection.execute(
            statement("save_verify"),
            *(watch.id, "verify", last_key, phase is None, record["rows"], size_bytes, found, wait_s, phase or "rows"),
        )
        return Page(record["rows"], found, phase is None, wait_s)


async def _scan_without_rows(
    connection: Connection, watch: Watch, purpose: str, scan: asyncpg.Record, max_rows: int
) -> Page:
    """Enqueues the keys of the next ledger entries, or companion vectors, whose row is gone."""
    record = await _fetch_page(connection, watch, f"{scan['phase']}_page", scan, max_rows)
    return await _save_scan(connection, watch, purpose, record, max_rows, phase=scan["phase"])


async def _fetch_page(
    connection: Connection, watch: Watch, name: str, scan: asyncpg.Record, *arguments: object
) -> asyncpg.Record | None:
    """Runs a statement from the scan's cursor on, which is its last parameter unless the page is the first one."""
    last_key = scan["last_key"]
    if last_key is None:
        return await connection.fetchrow(watch.sql(name), *arguments)
    return await connection.fetchrow(watch.sql(name, continued=True), *arguments, last_key)


def _next_phase(watch: Watch, phase: str) -> str | None:
    """The phase of a sweep or verification after `phase`; None after the last one."""
    if phase == "rows":
        return "entries"
    return "vectors" if phase == "entries" and watch.has_companion else None


async def _lock_scan(connection: Connection, watch: Watch, purpose: str) -> asyncpg.Record | None:
    tables = (watch.identifiers.table, watch.identifiers.companion)
    return await connection.fetchrow(statement("lock_scan"), watch.id, purpose, *tables)


async def _save_scan(
    connection: Connection,
    watch: Watch,
    purpose: str,
    record: asyncpg.Record | None,
    max_rows: int,
    phase: str | None = None,
) -> Page:
    """Saves the cursor, or begins the next phase after the last page. `phase` is None for a scan without phases."""
    rows = 0 if record is None else record["rows"]
    enqueued = 0 if record is None else record.get("enqueued", rows)
    last_key = None if record is None else record["last_key"]
    next_phase = phase
    if rows < max_rows:
        next_phase = None if phase is None else _next_phase(watch, phase)
        last_key = None if next_phase else last_key
    finished = rows < max_rows and next_phase is None
    found = enqueued if purpose == "verify" else 0
    await connection.execute(statement("save_scan"), watch.id, purpose, last_key, finished, next_phase or "rows", found)
    return Page(rows, enqueued, finished)


async def outstanding_backfill(connection: Connection, watch: Watch, at_most: int, *, above_gen: int = 0) -> int:
    """Counts incomplete backfill events, up to `at_most`. None is at or below `above_gen`."""
    return int(await connection.fetchval(watch.sql("outstanding_backfill"), at_most, above_gen))
