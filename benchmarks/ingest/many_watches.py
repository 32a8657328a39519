"""What many idle watches cost: transactions, the lag of a single insert, `sidecar.status`."""

from __future__ import annotations

import asyncio
import random
import time
from statistics import median

import psycopg

from benchmarks.figure import Figure
from benchmarks.ingest.running import running_ingest
from benchmarks.scratch import scratch_database
from tests.encoders import TimedEncoder
from tests.servers import Server
from tests.waiting import wait_until_async

ENCODE_MS = 5.0
IDLE_S, REPORTED_AFTER_S = 10.0, 22.0
LOOK_EVERY_S = 0.001


async def measure_many_watches(server: Server, watches: int, inserts: int) -> list[Figure]:
    """Everything with one watch, then with `watches`, in databases of their own."""
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
    """Lag in ms, transactions a second while idle, seconds that `sidecar.status` takes."""
    with scratch_database(server) as url:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            for number in range(watches):
                await connection.execute(
                    f"create table docs_{number} (id bigint generated always as identity primary key, body text);"
                    f"select sidecar.watch('docs_{number}', 'body', target => 'embedding', index => 'none')".encode()
                )
            async with running_ingest(url, TimedEncoder(ENCODE_MS)):
                await _until_backfilled(connection)
                rate = await _transactions_per_s(connection)
                lag_ms = median([await _lag_ms(connection, random.randrange(watches)) for _ in range(inserts)])
            return lag_ms, rate, await _status_s(connection)


async def _until_backfilled(connection: psycopg.AsyncConnection) -> None:
    async def is_finished() -> bool:
        cursor = await connection.execute(
            b"select not exists (select from sidecar.scans where purpose = 'backfill' and finished_at is null)"
        )
        return await cursor.fetchone() == (True,)

    await wait_until_async(is_finished, "the backfills of empty tables", timeout_s=60)


async def _lag_ms(connection: psycopg.AsyncConnection, number: int) -> float:
    await asyncio.sleep(random.uniform(0.02, 0.2))
    insert = f"insert into docs_{number} (body) values (%s) returning id".encode()
    cursor = await connection.execute(insert, [f"text {random.random()}"])
    row, began = await cursor.fetchone(), time.perf_counter()
    look = f"select from docs_{number} where id = %s and embedding is not null".encode()

    async def is_embedded() -> bool:
        return (await connection.execute(look, row)).rowcount == 1

    while not await is_embedded():
        await asyncio.sleep(LOOK_EVERY_S)
    return (time.perf_counter() - began) * 1000


async def _transactions_per_s(connection: psycopg.AsyncConnection) -> float:
    """Of the whole database, without those of the start: the guard of the sessions, which runs for 10 s more, reports
    its hundred when it ends, and a session that falls idle may keep its last count for 10 s. Meanwhile no query is
    sent: it would be counted too.
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
    """The median of five, in a session that has asked before."""
    took = []
    for _ in range(6):
        began = time.perf_counter()
        await (await connection.execute(b"select * from sidecar.status")).fetchall()
        took.append(time.perf_counter() - began)
    return median(took[1:])
