"""Throughput of sixteen clients that insert single rows beside a busy sidecar: bare, watched, with a NOTIFY each."""

from __future__ import annotations

import asyncio

import psycopg

from benchmarks.database.pgbench import run_pgbench
from benchmarks.figure import Figure, of_rounds, ratio_of
from benchmarks.ingest.running import running_ingest
from benchmarks.part import Run
from benchmarks.scratch import execute, scratch_database
from tests.encoders import TimedEncoder
from tests.waiting import wait_until_async

CLIENTS = 16
ROUND_S, WARM_UP_S = 4, 2
ENCODE_MS = 1.0  # a device of 1,000 texts/s: the clients insert faster, so the sidecar stays busy
_SCRIPT = "insert into {table} (body) values ('document ' || random());"

# What a queue without gated wake-ups does: an event for each row, and a NOTIFY for each statement.
_ALWAYS_NOTIFY = """
    create table notifying_events (gen bigint generated always as identity primary key, id bigint not null,
        enqueued_at timestamptz not null default clock_timestamp());
    create function notify_always() returns trigger language plpgsql as $$
    begin
        insert into notifying_events (id) select id from new_rows;
        perform pg_notify('notifying', '');
        return null;
    end $$;
    create trigger notify_always after insert on notifying referencing new table as new_rows
        for each statement execute function notify_always();
"""


async def measure_single_inserts(run: Run) -> list[Figure]:
    """Transactions per second of each table, in turns."""
    columns = "id bigint generated always as identity primary key, body text"
    rates: dict[str, list[float]] = {"bare": [], "watched": [], "notifying": []}
    with scratch_database(run.server) as url:
        execute(
            url,
            *(f"create table {name} ({columns})" for name in rates),
            "select sidecar.watch('watched', source => 'body', index => 'none', companion => 'vectors')",
            _ALWAYS_NOTIFY,
            "vacuum analyze",
        )
        async with (
            await psycopg.AsyncConnection.connect(url, autocommit=True) as listening,
            await psycopg.AsyncConnection.connect(url, autocommit=True) as looking,
            running_ingest(url, TimedEncoder(ENCODE_MS)),
        ):
            await listening.execute(b"listen notifying")
            await run_pgbench(url, _SCRIPT.format(table="watched"), CLIENTS, WARM_UP_S)
            await wait_until_async(lambda: _is_busy(looking), "the first vectors", timeout_s=30)
            for turn in range(run.rounds):
                for name in rates if turn % 2 else reversed(rates):
                    rates[name].append(await run_pgbench(url, _SCRIPT.format(table=name), CLIENTS, ROUND_S))
            waiting = await _waiting(looking)
            assert waiting > 0, "the sidecar ran out of rows"
            await asyncio.to_thread(execute, url, "truncate watched")
    many = f"{CLIENTS} clients, single-row INSERTs"
    return [
        of_rounds(f"{many}, not watched", rates["bare"], "transactions/s", is_baseline=True),
        of_rounds(f"{many}, with a NOTIFY in every statement", rates["notifying"], "transactions/s", is_baseline=True),
        of_rounds(f"{many}, watched, sidecar busy", rates["watched"], "transactions/s"),
        ratio_of(f"{many}, with a NOTIFY in every statement / not watched", rates["notifying"], rates["bare"]),
        ratio_of(f"{many}, watched / not watched, sidecar busy", rates["watched"], rates["bare"], ">= 0.6"),
    ]


async def _is_busy(connection: psycopg.AsyncConnection) -> bool:
    cursor = await connection.execute(b"select exists (select from vectors)")
    return await cursor.fetchone() == (True,)


async def _waiting(connection: psycopg.AsyncConnection) -> int:
    cursor = await connection.execute(b"select count(*) from sidecar_internal.events_1")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
