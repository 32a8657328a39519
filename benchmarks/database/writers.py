"""Throughput of eight writers on a watched table, relative to an unwatched one, in each state of the sidecar."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from benchmarks.database.pgbench import run_pgbench
from benchmarks.figure import Figure, of_rounds
from benchmarks.ingest.running import running_ingest
from benchmarks.scratch import execute, scratch_database
from tests.encoders import TimedEncoder
from tests.servers import Server

CLIENTS = 8
ROWS = 10_000
ENCODE_MS = 1.0  # a device of 1,000 texts/s, as in the pipeline: it is the bottleneck, rows wait for it

# One insert, one unrelated update, one select.
_SCRIPT = f"""
\\set id random(1, {ROWS})
begin;
insert into {{table}} (body, price) values ('document ' || :id, 1);
update {{table}} set price = price + 1 where id = :id;
select body from {{table}} where id = :id;
commit;
"""
_STATES: Mapping[str, str | None] = {
    "no sidecar": None,
    "working": "select sidecar.resume()",
    "paused": "select sidecar.pause()",
    "at its cap": "select sidecar.set_rate('watched', rows_per_s => 20)",
    "idle, another model's watch": "update sidecar_internal.watches set fingerprint = 'another'",
}


async def measure_writers(server: Server, rounds: int, round_s: int) -> list[Figure]:
    """One database per state; watched and bare table in turns."""
    figures = []
    for state, statement in _STATES.items():
        ratios = await _ratios(server, statement, rounds, round_s)
        figures.append(of_rounds(f"{CLIENTS} writers, {state}: watched / not watched", ratios, "ratio", ">= 0.7"))
    return figures


async def _ratios(server: Server, statement: str | None, rounds: int, round_s: int) -> list[float]:
    columns = "id bigint generated always as identity primary key, body text, price int"
    fill = f"(body, price) select 'document ' || i, 1 from generate_series(1, {ROWS}) i"
    with scratch_database(server) as url:
        execute(
            url,
            *(f"create table {name} ({columns})" for name in ("bare", "watched")),
            "alter table bare add column body_embedding vector(1152)",
            *(f"insert into {name} {fill}" for name in ("bare", "watched")),
            "select sidecar.watch('watched', source => 'body', index => 'none', companion => 'vectors')",
            "delete from sidecar_internal.scans",
            "vacuum analyze",
        )
        async with _sidecar(url, statement):
            return [await _one_ratio(url, round_s, number % 2 == 0) for number in range(rounds)]


@asynccontextmanager
async def _sidecar(url: str, statement: str | None) -> AsyncIterator[None]:
    if statement is None:
        yield
        return
    async with running_ingest(url, TimedEncoder(ENCODE_MS)):
        await asyncio.to_thread(execute, url, statement, "notify sidecar_watches")
        await asyncio.sleep(3)
        yield


async def _one_ratio(url: str, round_s: int, bare_first: bool) -> float:
    rates = {}
    for table in ("bare", "watched") if bare_first else ("watched", "bare"):
        rates[table] = await run_pgbench(url, _SCRIPT.format(table=table), CLIENTS, round_s)
    return rates["watched"] / rates["bare"]
