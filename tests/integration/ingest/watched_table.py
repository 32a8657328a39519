"""A watched table as its user sees it, and the oracle: the vectors it must have, found with SQL of its own."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import numpy as np
import psycopg
from numpy.typing import NDArray
from PIL import Image
from psycopg import sql

from tests.encoders import HashEncoder
from tests.integration.ingest.composition import DIMENSIONS
from tests.waiting import wait_until_async

Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
Key: TypeAlias = tuple[Any, ...]

PATIENCE_S = 20.0


@asynccontextmanager
async def user(database_url: str, *, autocommit: bool = True) -> AsyncIterator[Connection]:
    """A user's session. A transaction still open at the end of the block is rolled back."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=autocommit) as connection:
        yield connection
        if not connection.closed:
            await connection.rollback()


async def run(connection: Connection, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Runs one statement and returns its rows; parameters are `%s`."""
    cursor = await connection.execute(query.encode(), parameters or None)
    return await cursor.fetchall() if cursor.description else []


async def value(connection: Connection, query: str, *parameters: Any) -> Any:
    """The first column of the first row."""
    rows = await run(connection, query, *parameters)
    return rows[0][0] if rows else None


def picture(seed: int, side: int = 32) -> bytes:
    """A PNG of noise. At the encoder's own side length it reaches the encoder pixel for pixel."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def expected_vector(encoder: HashEncoder, contents: Sequence[str | bytes | None]) -> NDArray[np.float32] | None:
    """The vector of a row with these contents, computed with nothing of ours but the encoder."""
    if isinstance(contents[0], bytes):
        pixels = np.asarray(Image.open(io.BytesIO(contents[0])).convert("RGB"))
        vector: NDArray[np.float32] = encoder._vector(pixels.tobytes())
        return vector
    text = " ".join(c for c in contents if isinstance(c, str))
    return encoder.vector_of(text) if text.strip() else None


@dataclass(frozen=True, slots=True)
class WatchedTable:
    """`connection` is the oracle's own session. `home` is the table that holds the vectors."""

    connection: Connection
    watch_id: int
    table: sql.Identifier
    key: tuple[str, ...]
    source: tuple[str, ...]
    target: str
    companion: sql.Identifier | None
    storage: str = "vector"

    async def vectors(self) -> dict[Key, NDArray[np.float32] | None]:
        """Key → stored vector; None for NULL. Companion rows without a row in the table are included."""
        query = sql.SQL("select {}, {}::text from {}").format(
            self._key_text(), sql.Identifier(self.target), self.companion or self.table
        )
        return {row[:-1]: _parse(row[-1]) for row in await (await self.connection.execute(query)).fetchall()}

    async def contents(self) -> dict[Key, tuple[str | bytes | None, ...]]:
        """Key → contents of its source columns."""
        source = sql.SQL(", ").join(map(sql.Identifier, self.source))
        query = sql.SQL("select {}, {} from {}").format(self._key_text(), source, self.table)
        rows = await (await self.connection.execute(query)).fetchall()
        return {row[: len(self.key)]: row[len(self.key) :] for row in rows}

    async def wrong(self, encoder: HashEncoder) -> list[str]:
        """Lines on all that must not be so when nothing is pending."""
        async with self.connection.transaction():
            await self.connection.execute("set transaction isolation level repeatable read")
            contents, vectors = await self.contents(), await self.vectors()
        failed = await self.failures()
        problems = [f"{key} has a vector but no row" for key in vectors.keys() - contents.keys()]
        for key, content in contents.items():
            expected = None if self._json(key) in failed else expected_vector(encoder, content)
            if expected is not None and self.storage == "halfvec":
                expected = expected.astype(np.float16).astype(np.float32)
            if not _same(vectors.get(key), expected):
                problems.append(
                    f"{key} has {_describe(vectors.get(key))} where {content!r:.60} makes {_describe(expected)}"
                )
        return problems

    async def is_settled(self) -> bool:
        """Whether no event is waiting, in flight or delayed, and no scan is running."""
        return not await self.unsettled()

    async def unsettled(self) -> list[tuple[Any, ...]]:
        query = f"""
            select 'event', e::text from sidecar_internal.events_{self.watch_id} e
            union all select 'delayed', d::text from sidecar_internal.delayed_{self.watch_id} d
            union all select 'scan', s::text from sidecar_internal.scans s where watch_id = %s and finished_at is null
                limit 5
        """
        return await run(self.connection, query, self.watch_id)

    async def settle(self, timeout_s: float = PATIENCE_S) -> None:
        await self._settle(timeout_s)

    async def settle_without_delays(self, timeout_s: float = PATIENCE_S) -> None:
        """As `settle`, with delayed events made due at once."""
        await self._settle(timeout_s, self.age_delays)

    async def settle_after_crashes(self, timeout_s: float = PATIENCE_S) -> None:
        """As `settle_without_delays`, with leases some seconds old ended as those of dead sidecars.

        All leases that exist at its beginning are ended, also those of a running sidecar, which may encode these rows
        twice.
        """

        async def hurry() -> None:
            await self.age_delays()
            await self.age_leases(min_age_s=3)

        await self.age_leases()
        await self._settle(timeout_s, hurry)

    async def _settle(self, timeout_s: float, hurry: Callable[[], Awaitable[None]] | None = None) -> None:
        unsettled: list[tuple[Any, ...]] = []

        async def is_settled() -> bool:
            if hurry is not None:
                await hurry()
            unsettled[:] = await self.unsettled()
            return not unsettled

        await wait_until_async(is_settled, lambda: f"every event to be done, such as {unsettled}", timeout_s)

    async def settle_right(self, encoder: HashEncoder, timeout_s: float = PATIENCE_S) -> None:
        """Waits until nothing is pending, and checks every vector."""
        await self.settle(timeout_s)
        assert not (wrong := await self.wrong(encoder)), wrong[:5]

    async def become_right(self, encoder: HashEncoder, timeout_s: float = PATIENCE_S) -> None:
        """Waits until every vector is right, whatever is still pending."""
        wrong: list[str] = []

        async def is_right() -> bool:
            wrong[:] = await self.wrong(encoder)
            return not wrong

        await wait_until_async(is_right, lambda: f"right vectors; {wrong[:3]}", timeout_s)

    async def failures(self) -> dict[str, tuple[str, str]]:
        """Key as JSON → reason and message."""
        rows = await run(
            self.connection,
            "select key::text, reason, message from sidecar_internal.failures where watch_id = %s",
            self.watch_id,
        )
        return {_normal(key): (reason, message) for key, reason, message in rows}

    async def ledger_hash(self, key: Key) -> Any:
        condition = " and ".join(f"k{i} = %s" for i in range(1, len(key) + 1))
        query = f"""
            select coalesce(encode(content_hash, 'escape'), 'tombstone') from sidecar_internal.ledger_{self.watch_id}
            where {condition}
        """
        return await value(self.connection, query, *key)

    async def count(self, what: str, condition: str = "true") -> int:
        """Rows of events, delayed or ledger."""
        found: int = await value(
            self.connection, f"select count(*) from sidecar_internal.{what}_{self.watch_id} where {condition}"
        )
        return found

    async def end_leases(self, tokens: Collection[UUID]) -> None:
        """Ends the leases with these tokens, as if their sidecars had died long ago."""
        query = f"""
            update sidecar_internal.events_{self.watch_id} set lease_until = now() - interval '1 s' where lease_token =
                any (%s)
        """
        await run(self.connection, query, list(tokens))

    async def age_leases(self, min_age_s: float = 0) -> None:
        """Ends leases that were taken or renewed `min_age_s` ago or earlier. LEASE_S must be 60."""
        query = f"""
            update sidecar_internal.events_{self.watch_id} set lease_until = now() - interval '1 s'
            where lease_until <= clock_timestamp() + make_interval(secs => 60 - %s)
        """
        await run(self.connection, query, min_age_s)

    async def age_delays(self) -> None:
        """Makes all delayed events due now."""
        await run(self.connection, f"update sidecar_internal.delayed_{self.watch_id} set run_at = now()")

    def _json(self, key: Key) -> str:
        return _normal(json.dumps(dict(zip(self.key, key, strict=True)), default=str))

    def _key_text(self) -> sql.Composable:
        return sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in self.key)


async def watch(
    connection: Connection,
    table: Sequence[str],
    source: Sequence[str],
    key: Sequence[str] = ("id",),
    **options: Any,
) -> WatchedTable:
    """Calls sidecar.watch. `table` is (name,) or (schema, name); no name is quoted yet."""
    name = sql.Identifier(*table)
    home = None
    if options.get("companion") is not None:
        home = sql.Identifier(*table[:-1], options["companion"])
        options["companion"] = sql.Identifier(options["companion"]).as_string(connection)
    options = {"target": "embedding", "dimensions": DIMENSIONS, "index": "none", **options}
    query = sql.SQL("select sidecar.watch({}::text::regclass, source => {}::text[], {})").format(
        sql.Literal(name.as_string(connection)),
        sql.Literal(list(source)),
        sql.SQL(", ").join(sql.SQL("{} => {}").format(sql.Identifier(k), sql.Literal(v)) for k, v in options.items()),
    )
    row = await (await connection.execute(query)).fetchone()
    assert row is not None
    storage = options.get("storage") or "vector"
    return WatchedTable(connection, row[0], name, tuple(key), tuple(source), options["target"], home, storage)


def _normal(key: str | Mapping[str, Any]) -> str:
    loaded = json.loads(key) if isinstance(key, str) else key
    return json.dumps({k: str(v) for k, v in loaded.items()}, sort_keys=True)


def _parse(text: str | None) -> NDArray[np.float32] | None:
    return None if text is None else np.array(json.loads(text), dtype=np.float32)


def _same(stored: NDArray[np.float32] | None, expected: NDArray[np.float32] | None) -> bool:
    if stored is None or expected is None:
        return stored is expected
    return stored.shape == expected.shape and bool(np.allclose(stored, expected, atol=1e-6))


def _describe(vector: NDArray[np.float32] | None) -> str:
    return "no vector" if vector is None else f"[{vector[0]:.4f} …]"
