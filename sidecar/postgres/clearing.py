"""Clears the vectors of a former model, page by page, before the first vector of the new model is written.

A row that is locked by a user's transaction is skipped, and its key is kept in the scan until the row is free: nothing
here waits for a user's row, and the clearing ends only when no key is left.

A row that cannot be updated (a constraint that it violates already, a trigger that raises or suppresses the write)
fails its page. The page is made smaller until the row is alone; then it is recorded as a failure and keeps its vector.
The backfill that follows tries it again.

Order of locks, as in `complete`: watch row → the scan → the user's rows (skip locked) → ledger keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.errors import StatementRejected
from sidecar.postgres.completion import WriteSuppressed
from sidecar.postgres.database import translate_asyncpg_errors
from sidecar.postgres.events import Key
from sidecar.postgres.rows import key_parameters
from sidecar.postgres.scans import INSUFFICIENT_PRIVILEGE, Page
from sidecar.postgres.statements import statement
from sidecar.postgres.watches import Watch

if TYPE_CHECKING:
    from sidecar.postgres.database import Connection

MAX_SKIPPED = 1000  # skipped keys kept in the scan; with so many, no further page is read
WAIT_S = 0.2  # before locked rows are tried again


@dataclass(frozen=True, slots=True)
class _Step:
    """The keys of one transaction, and the cursor after it. `waiting` are keys skipped earlier that are not tried now;
    `exhausted`: no key is left beside those skipped.
    """

    keys: list[Key]
    cursor: list[str] | None
    waiting: list[Key]
    exhausted: bool


async def clear_page(connection: Connection, watch: Watch, max_rows: int) -> Page | None:
    """Sets the next vectors to NULL, or deletes them from the companion, with their ledger entries.

    None: nothing to clear, or another sidecar works on it. Raises StatementRejected if our role lacks a right.
    """
    while True:
        try:
            with translate_asyncpg_errors():
                return await _clear_step(connection, watch, max_rows)
        except (StatementRejected, WriteSuppressed) as error:
            if await _lacks_right(connection, watch, error):
                raise
            if max_rows == 1:
                return await _record_refused(connection, watch, error)
            max_rows = max(max_rows // 4, 1)


async def _clear_step(connection: Connection, watch: Watch, max_rows: int) -> Page | None:
    """Clears one page in one transaction; its locked rows are skipped, and kept in the scan."""
    async with connection.transaction():
        step = await _begin_step(connection, watch, max_rows)
        if step is None:
            return None
        locked = await _lock_rows(connection, watch, step.keys)
        await _clear_vectors(connection, watch, [key for key, has_vector in locked.items() if has_vector])
        skipped = await _find_locked(connection, watch, [key for key in step.keys if key not in locked])
        done = [key for key in step.keys if key not in skipped]
        if done:
            await connection.execute(watch.sql("delete_entries"), *key_parameters(done))
        return await _save_step(connection, watch, step, [*step.waiting, *skipped], len(done))


async def _begin_step(connection: Connection, watch: Watch, max_rows: int) -> _Step | None:
    """Locks watch and scan, and chooses the keys: the next ones, or skipped ones if there are too many or no others."""
    if await connection.fetchval(statement("lock_watch"), watch.id) is None:
        return None
    await connection.execute(statement("limit_lock_waits"))
    await connection.execute(statement("limit_transaction_time"))
    tables = (watch.identifiers.table, watch.identifiers.companion)
    scan = await connection.fetchrow(statement("lock_scan"), watch.id, "clear", *tables)
    if scan is None:
        return None
    skipped = [tuple(key) for key in scan["passed_by"]]
    if len(skipped) >= MAX_SKIPPED:
        return _Step(skipped[:max_rows], scan["last_key"], skipped[max_rows:], exhausted=False)
    last_key = scan["last_key"]
    continued = last_key is not None
    records = await connection.fetch(
        watch.sql("clear_keys", continued=continued), max_rows, *([last_key] if continued else [])
    )
    keys = [tuple(record["key"]) for record in records]
    if keys:
        return _Step(keys, list(keys[-1]), skipped, exhausted=False)
    return _Step(skipped[:max_rows], scan["last_key"], skipped[max_rows:], exhausted=True)


async def _lock_rows(connection: Connection, watch: Watch, keys: Sequence[Key]) -> dict[Key, bool]:
    """Locks rows. Returns, for each key locked, whether its row has a vector."""
    if not keys:
        return {}
    name = "lock_vectors" if watch.has_companion else "lock_rows"
    rows = await connection.fetch(watch.sql(name), *key_parameters(keys))
    return {keys[row["position"] - 1]: row["has_vector"] for row in rows}


async def _clear_vectors(connection: Connection, watch: Watch, keys: Sequence[Key]) -> None:
    if not keys:
        return
    name = "clear_vectors_in_companion" if watch.has_companion else "clear_vectors_in_row"
    tag = await connection.execute(watch.sql(name), *key_parameters(keys))
    if int(tag.rpartition(" ")[2]) < len(keys):
        raise WriteSuppressed("a trigger on the table keeps the vector of the former model")


async def _find_locked(connection: Connection, watch: Watch, keys: Sequence[Key]) -> list[Key]:
    """The keys whose rows exist: other transactions have them locked."""
    if not keys:
        return []
    rows = await connection.fetch(watch.sql("find_existing_vectors"), *key_parameters(keys))
    return [keys[row["position"] - 1] for row in rows]


async def _save_step(connection: Connection, watch: Watch, step: _Step, skipped: Sequence[Key], done: int) -> Page:
    last = step.exhausted and not skipped
    await connection.execute(statement("save_clearing"), watch.id, step.cursor, [list(key) for key in skipped], last)
    return Page(done, 0, last, wait_s=WAIT_S if step.keys and not done else 0.0)


async def _lacks_right(connection: Connection, watch: Watch, error: StatementRejected | WriteSuppressed) -> bool:
    if not isinstance(error, StatementRejected) or error.sqlstate != INSUFFICIENT_PRIVILEGE:
        return False
    return await connection.fetchval(statement("missing_right"), watch.id) is not None


async def _record_refused(
    connection: Connection, watch: Watch, error: StatementRejected | WriteSuppressed
) -> Page | None:
    """Records the next row, which was rejected alone, as a failure, and moves on."""
    reason = "write_suppressed" if isinstance(error, WriteSuppressed) else "write_rejected"
    code = "" if isinstance(error, WriteSuppressed) else f" (SQLSTATE {error.sqlstate})"
    message = f"the vector of the former model cannot be cleared: {error}{code}"
    async with connection.transaction():
        step = await _begin_step(connection, watch, 1)
        if step is None:
            return None
        if step.keys:
            gen = await connection.fetchval(statement("next_generation"))
            columns = key_parameters(step.keys)
            await connection.execute(watch.sql("record_failed_entry"), gen, *columns)
            await connection.execute(watch.sql("record_failures"), [gen], [0], [reason], [message], *columns)
        return await _save_step(connection, watch, step, step.waiting, len(step.keys))
