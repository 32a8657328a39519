"""Reads the rows of claimed keys, in pages of bounded size.

A row that the server cannot read (a computed column that divides by zero, a text of more than a gigabyte, a byte that
is no character, a damaged block) fails the statement that reads it. So the page is halved until the row is alone, and
the other rows are read as usual. The row itself is tried in steps:

    content and vector    as usual
    content, no vector    the stored vector is damaged: the row is embedded again
    neither               the row is returned with its `fault`, and becomes a failure
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sidecar.errors import StatementRejected, WatchChanged
from sidecar.postgres.events import Key
from sidecar.postgres.statements import statement
from sidecar.postgres.watches import Watch

if TYPE_CHECKING:
    import asyncpg

    from sidecar.postgres.database import Connection, Database

# Classes of SQLSTATE that a row's data may cause: its values, code that computes them, limits, damage. Others, such as
# missing rights, concern every row of the table.
_DATA_FAULTS = ("22", "38", "39", "54", "58", "P0", "XX")


@dataclass(frozen=True, slots=True)
class Row:
    """The row of a key, with its ledger entry. `content` is None where the source is NULL, or longer than asked for
    (`size_bytes` says so), or cannot be read (`fault` says why).

    Where `content` is only the beginning, `whole_hash` is the hash of the whole content. `version` names the ledger
    entry as of the read; None: there was none.
    """

    key: Key
    found: bool
    size_bytes: int | None
    content: bytes | None
    has_vector: bool
    version: str | None
    ledger_hash: bytes | None
    ledger_digest: bytes | None
    ledger_truncated: bool
    ledger_unreadable: bool
    digest_matches: bool
    whole_hash: bytes | None = None
    fault: str | None = None

    def content_hash(self) -> bytes | None:
        """The SHA-256 of the whole content, as in the ledger; None if it was not read."""
        if self.content is None:
            return None
        return self.whole_hash or hashlib.sha256(self.content).digest()

    def is_embedded_as(self, content_hash: bytes) -> bool:
        """Whether the stored vector is the one in the ledger, made of this content."""
        return self.ledger_hash == content_hash and self.has_vector and self.digest_matches


_NO_LIMIT = 2**31 - 1  # Postgres has no larger values


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How much of the contents to read: `page_bytes` for all rows of a page, `row_bytes` for one row, whose content is
    left out if it is longer. A content longer than `whole_bytes` is cut to `beginning_bytes`.
    """

    page_bytes: int
    row_bytes: int = _NO_LIMIT
    whole_bytes: int = _NO_LIMIT
    beginning_bytes: int = _NO_LIMIT
    contents: bool = True  # False: reads none
    vectors: bool = True


def is_data_fault(error: StatementRejected) -> bool:
    """Whether the data of single rows may have caused the error."""
    return error.sqlstate.startswith(_DATA_FAULTS)


async def read_rows(
    database: Database,
    watch: Watch,
    keys: Sequence[Key],
    limits: ReadLimits,
    reading: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> AsyncIterator[list[Row]]:
    """Yields the rows of all `keys`, in order, in pages of about `page_bytes`, each read in a block of `reading()`.

    No snapshot is held between pages. Raises WatchChanged where a key has several rows, StatementRejected where no row
    of the table can be read.
    """
    rest = list(keys)
    size = len(rest)
    while rest:
        async with reading():
            try:
                rows = await _read_page(database, watch, rest[:size], limits)
                size *= 2
            except StatementRejected as error:
                if not is_data_fault(error):
                    raise
                if len(rest[:size]) > 1:
                    size = len(rest[:size]) // 2
                    continue
                rows = [await _read_damaged(database, watch, rest[0], limits)]
        yield rows
        rest = rest[len(rows) :]


async def _read_page(database: Database, watch: Watch, keys: Sequence[Key], limits: ReadLimits) -> list[Row]:
    async with database.connection() as connection:
        records = await _fetch(connection, watch, keys, limits)
    page = []
    for key, record in zip(keys, records, strict=True):
        size_bytes = record["size_bytes"]
        fits = size_bytes is None or size_bytes > limits.row_bytes or record["content"] is not None
        if not fits:
            break
        page.append(_row(key, record))
    return page


async def _read_damaged(database: Database, watch: Watch, key: Key, limits: ReadLimits) -> Row:
    """Reads what can be read of a damaged row. Raises StatementRejected if that is nothing."""
    try:
        [row] = await _read_page(database, watch, [key], replace(limits, vectors=False))
    except StatementRejected as error:
        if not is_data_fault(error):
            raise
        fault = f"{error} (SQLSTATE {error.sqlstate})"
    else:
        return row
    async with database.connection() as connection:
        [record] = await _fetch(connection, watch, [key], replace(limits, contents=False, vectors=False))
        return replace(_row(key, record), fault=fault)


async def _fetch(connection: Connection, watch: Watch, keys: Sequence[Key], limits: ReadLimits) -> list[asyncpg.Record]:
    async with AsyncExitStack() as stack:
        if watch.identifiers.is_partitioned:
            await stack.enter_async_context(connection.transaction())
            await connection.execute(statement("plan_with_values"))
        records = await connection.fetch(
            watch.sql("read_rows"),
            *(limits.page_bytes, limits.row_bytes, limits.contents, limits.vectors),
            *(limits.whole_bytes, limits.beginning_bytes),
            *key_parameters(keys),
        )
    if len(records) != len(keys):
        raise WatchChanged(f"{watch.quoted_name} has several rows with one key: another table inherits from it")
    return records


def _row(key: Key, record: asyncpg.Record) -> Row:
    return Row(
        key=key,
        found=record["found"],
        size_bytes=record["size_bytes"],
        content=record["content"],
        has_vector=record["has_vector"],
        version=record["version"],
        ledger_hash=record["content_hash"],
        ledger_digest=record["vector_digest"],
        ledger_truncated=record["truncated"],
        ledger_unreadable=record["unreadable"],
        digest_matches=bool(record["digest_matches"]),
        whole_hash=record["whole_hash"],
    )


def key_parameters(keys: Sequence[Key]) -> list[list[str]]:
    """Transposes keys into one list per key column: the parameters of {keys:N}."""
    return [list(column) for column in zip(*keys, strict=True)]
