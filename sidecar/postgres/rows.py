"""Reads what claimed keys hold now, bounded in bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.errors import WatchChanged
from sidecar.postgres.events import Key
from sidecar.postgres.watches import Watch

if TYPE_CHECKING:
    import asyncpg

    from sidecar.postgres.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Row:
    """What a key holds. `content` is None where the source is NULL, or longer than asked for (`size_bytes` tells).

    `version` names the ledger entry that stood there when the content was read; None: there was none.
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
    digest_matches: bool

    def is_embedded_as(self, content_hash: bytes) -> bool:
        """The stored vector is the one the ledger knows, and was made of this content."""
        return self.ledger_hash == content_hash and self.has_vector and self.digest_matches


async def read_rows(
    database: Database,
    watch: Watch,
    keys: Sequence[Key],
    max_bytes: int,
    max_row_bytes: int,
    reading: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> AsyncIterator[list[Row]]:
    """Yields the rows of all `keys`, in order, in lists of about `max_bytes`, each read in a block of `reading()`. No
    snapshot is held in between.

    Raises WatchChanged where a key has several rows.
    """
    rest = list(keys)
    while rest:
        async with reading(), database.connection() as connection:
            rows = await _read_page(connection, watch, rest, max_bytes, max_row_bytes)
        yield rows
        rest = rest[len(rows) :]


async def _read_page(
    connection: Connection, watch: Watch, keys: Sequence[Key], max_bytes: int, max_row_bytes: int
) -> list[Row]:
    records = await connection.fetch(watch.sql("read_rows"), max_bytes, max_row_bytes, *columns_of(keys))
    if len(records) != len(keys):
        raise WatchChanged(f"{watch.label} has several rows with one key: another table inherits from it")
    page = []
    for key, record in zip(keys, records, strict=True):
        fits = record["size_bytes"] is None or record["size_bytes"] > max_row_bytes or record["content"] is not None
        if not fits:
            break
        page.append(_row(key, record))
    return page


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
        digest_matches=bool(record["digest_matches"]),
    )


def columns_of(keys: Sequence[Key]) -> list[list[str]]:
    """Keys as one list per key column: the parameters of {keys:N}."""
    return [list(column) for column in zip(*keys, strict=True)]
