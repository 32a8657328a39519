"""How long rows that a killed sidecar had claimed wait for another one."""

from __future__ import annotations

import time

import psycopg

from benchmarks.figure import Figure, of_rounds
from benchmarks.scratch import execute, scratch_database
from tests.integration.ingest.composition import DIMENSIONS
from tests.integration.ingest.processes import sidecar_process
from tests.servers import Server
from tests.waiting import wait_until_async

ROWS = 3000
HELD = "document 1500"
PATIENCE_S = 120.0


async def measure_takeover(server: Server, rounds: int) -> list[Figure]:
    """Time to the last vector, from the start of a successor, or from the kill if a second sidecar is running."""
    restarted = [await _by_a_successor(server) for _ in range(rounds)]
    beside = [await _by_a_second_sidecar(server) for _ in range(rounds)]
    return [
        of_rounds("rows of a killed sidecar, after its restart", restarted, "s", "<= 5"),
        of_rounds("rows of a killed sidecar, beside a second one", beside, "s", "<= 5"),
    ]


async def _by_a_successor(server: Server) -> float:
    with scratch_database(server) as url:
        _create_watched_table(url)
        async with sidecar_process(url, hold=HELD) as doomed:
            await doomed.until_holding()
            await doomed.kill()
        async with sidecar_process(url):
            await _until(url, "select count(*) = 2 from sidecar_internal.sidecars", "the successor")
            began = time.perf_counter()
            await _until_done(url)
            return time.perf_counter() - began


async def _by_a_second_sidecar(server: Server) -> float:
    with scratch_database(server) as url:
        _create_watched_table(url)
        async with sidecar_process(url, hold=HELD) as doomed:
            await doomed.until_holding()
            async with sidecar_process(url):
                await _until(url, "select count(*) = 2 from sidecar_internal.sidecars", "the second one")
                await _until(
                    url,
                    "select not exists (select from sidecar_internal.events_1 where lease_until is null)",
                    "all unclaimed events to be claimed",
                )
                await doomed.kill()
                began = time.perf_counter()
                await _until_done(url)
                return time.perf_counter() - began


def _create_watched_table(url: str) -> None:
    execute(
        url,
        "create table docs (id bigint generated always as identity primary key, body text)",
        "select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none',"
        f" dimensions => {DIMENSIONS})",
        "update sidecar_internal.scans set finished_at = now()",  # no second event for any row
        f"insert into docs (body) select 'document ' || i from generate_series(1, {ROWS}) i",
    )


async def _until_done(url: str) -> None:
    await _until(url, "select not exists (select from docs where embedding is null)", "the last vector")


async def _until(url: str, condition: str, what: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:

        async def is_so() -> bool:
            cursor = await connection.execute(condition.encode())
            return await cursor.fetchone() == (True,)

        await wait_until_async(is_so, what, PATIENCE_S)
