"""The lag of a single insert, from commit to vector."""

from __future__ import annotations

import asyncio
import time

import psycopg

POLL_INTERVAL_S = 0.001


async def lag_ms(connection: psycopg.AsyncConnection, table: str, column: str, value: str | bytes) -> float:
    """Insert a row with `value`, and wait for its vector. `connection` commits by itself."""
    insert = f"insert into {table} ({column}) values (%s) returning id".encode()
    row = await (await connection.execute(insert, [value])).fetchone()
    committed = time.perf_counter()
    embedded = f"select embedding is not null from {table} where id = %s".encode()
    while await (await connection.execute(embedded, row)).fetchone() != (True,):
        await asyncio.sleep(POLL_INTERVAL_S)
    return (time.perf_counter() - committed) * 1000
