"""Cost of many idle watches: transactions, the lag of a single insert, and `sidecar.status`."""

from __future__ import annotations

import asyncio
import random
import time
from statistics import median

import psycopg

from benchmarks.figure import Figure
from benchmarks.ingest.running import running_ingest
from benchmarks.ingest.single_insert import lag_ms
from benchmarks.scratch import scratch_database, until_backfilled
from tests.encoders import TimedEncoder
from tests.servers import Server

ENCODE_MS = 5.0
IDLE_S, REPORTED_AFTER_S = 10.0, 22.0


async def measure_many_watches(server: Server, watches: int, inserts: int) -> list[Figure]:
    """Compare a database with one watch and another with `watches`."""
    lag_of_one, rate_of_one, _ = await _measure(server, 1, inserts)
    lag, rate, status_s = await _measure(server, watches, inserts)
    return [
        Figure("1 idle watch, transactions", rate_of_one, "1/s", "<= 5"),
        Figure(f"{watches} idle watches, transactions", rate, "1/s", "<= 5"),
        Figure(f"commit to vector among {watches} watches / with one, p50", lag / lag_of_one, "ratio", "<= 2"),
        Figure(f"commit to vector among {watches} watches, p50 ({ENCODE_MS:g} ms encode)", lag, "ms"),
        Figure(f"sidecar.status of {watches} watches", status_s, "s", "<= 0.3"),
    ]


async def _measure(server: Server, watches: int, inserts: int) -> tuple[float, float, float]:
    """The lag in ms, transactions per second while idle, and seconds for `sidecar.status`."""
    with scratch_database(server) as url:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            for number in range(watches):
                await connection.execute(
                    f"create table docs_{number} (id bigint generated always as identity primary key, body text);"
                    f"select sidecar.watch('docs_{number}', 'body', target => 'embedding', index => 'none')".encode()
                )
            async with running_ingest(url, TimedEncoder(ENCODE_MS)):
                await until_backfilled(connection)
                rate = await _transactions_per_s(connection)
                lag_ms = median([await _lag_ms(connection, random.randrange(watches)) for _ in range(inserts)])
            return lag_ms, rate, await _status_s(connection)


async def _lag_ms(connection: psycopg.AsyncConnection, number: int) -> float:
    await asyncio.sleep(random.uniform(0.02, 0.2))
    return await lag_ms(connection, f"docs_{number}", "body", f"text {random.random()}")


async def _transactions_per_s(connection: psycopg.AsyncConnection) -> float:
    """Transactions of the whole database, without those of the start.

    Late ones are waited for: the guard of the sessions runs for 10 s more and reports its hundred when it ends, and an
    idle session may hold back its last count for 10 s. Meanwhile no query is sent, since it would be counted too.
    """
    await asyncio.sleep(REPORTED_AFTER_S)
    before, began = await _transactions(connection), time.perf_counter()
    await asyncio.sleep(IDLE_S)
    return (await _transactions(connection) - before) / (time.perf_counter() - began)


async def _transactions(connection: psycopg.AsyncConnection) -> int:
    cursor = await connection.execute(
        b"select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def _status_s(connection: psycopg.AsyncConnection) -> float:
    """The median of five, after a first one in the same session."""
    took = []
    for _ in range(6):
        began = time.perf_counter()
        await (await connection.execute(b"select * from sidecar.status")).fetchall()
        took.append(time.perf_counter() - began)
    return median(took[1:])
