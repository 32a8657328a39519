"""Latency of query vectors asked for in SQL, beside the same over HTTP, in one run with the timed device."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import httpx
import numpy as np
import psycopg

from benchmarks.figure import Figure, in_chunks, of_rounds
from benchmarks.scratch import scratch_database
from benchmarks.serving.server_process import Bench, server_process
from tests.clients.dblink import DBLINK_PACKAGE, server_with_dblink
from tests.servers import Server

BATCH_MS = 20.0
_WARM_CALLS = 10
_SESSIONS = 50

Session: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
Ask: TypeAlias = Callable[[], Awaitable[object]]


async def measure_sql_queries(server: Server, rounds: int, calls: int = 200) -> list[Figure]:
    """Texts one at a time, over HTTP, by the procedure and by the function, in turns; then 50 sessions at once.

    The function needs dblink: without the npm package that has it (`make test-clients`) it is left out.
    """
    with (
        _server_for_function(server) as (chosen, has_dblink),
        scratch_database(chosen) as url,
        psycopg.connect(url, autocommit=True) as admin,
        tempfile.TemporaryDirectory() as directory,
    ):
        admin.execute("create table items (id int primary key, title text)")
        admin.execute("select sidecar.watch('items', 'title', target => 'e')")
        with server_process(Bench(Path(directory), BATCH_MS), "sidecar", database_url=url, ingest=False) as sidecar:
            _await_registration(admin)
            if has_dblink:
                admin.execute("call sidecar.enable_embed()")
            figures = await _measure(url, sidecar.port, has_dblink, rounds, calls)
        admin.execute("select sidecar.disable_embed()")
    return figures


@contextmanager
def _server_for_function(server: Server) -> Iterator[tuple[Server, bool]]:
    if not DBLINK_PACKAGE.is_dir():
        yield server, False
        return
    with server_with_dblink() as other:
        yield other, True


def _await_registration(admin: psycopg.Connection[tuple[Any, ...]]) -> None:
    deadline = time.monotonic() + 30
    while admin.execute("select from sidecar_internal.query_servers").fetchone() is None:
        if time.monotonic() > deadline:
            raise RuntimeError("The sidecar did not register for queries in SQL.")


async def _measure(url: str, port: int, has_dblink: bool, rounds: int, calls: int) -> list[Figure]:
    numbers = count()
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as session,
    ):

        async def over_http() -> None:
            (await http.post("/embed/text", json={"text": _text(numbers)})).raise_for_status()

        ways: dict[str, Ask] = {
            "HTTP": over_http,
            "call sidecar.embed": lambda: session.execute(_CALL, (_text(numbers),)),
            "call sidecar.embed, cached": lambda: session.execute(_CALL, ("a green mug",)),
        }
        if has_dblink:
            ways["select sidecar.embed"] = lambda: session.execute(_SELECT, (_text(numbers),))
            ways["select sidecar.embed, cached"] = lambda: session.execute(_SELECT, ("a green mug",))
        times = await _in_turns(ways, calls)
    figures = _figures(times, rounds)
    figures.append(Figure("50 sessions at once, call sidecar.embed, p95", await _measure_many(url, numbers), "ms"))
    return figures


_CALL = "call sidecar.embed(%s::text, target => 'items.e', vector => null)"
_SELECT = "select sidecar.embed(%s::text, 'items.e')"


def _text(numbers: Iterator[int]) -> str:
    """One that was never asked for."""
    return f"a photo of bicycle number {next(numbers)}"


async def _in_turns(ways: Mapping[str, Ask], calls: int) -> dict[str, list[float]]:
    """Milliseconds of each call, by way."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_WARM_CALLS + calls):
        for name, ask in ways.items():
            began = time.perf_counter()
            await ask()
            times[name].append(1000 * (time.perf_counter() - began))
    return {name: values[_WARM_CALLS:] for name, values in times.items()}


def _figures(times: Mapping[str, list[float]], rounds: int) -> list[Figure]:
    p50 = {name: [median(part) for part in in_chunks(values, rounds)] for name, values in times.items()}
    figures = [of_rounds("one text over HTTP, beside SQL, p50", p50["HTTP"], "ms", is_baseline=True)]
    for name, values in times.items():
        if name == "HTTP":
            continue
        if "cached" in name:
            figures.append(of_rounds(f"{name}, p50", p50[name], "ms"))
            continue
        added = [one - other for one, other in zip(p50[name], p50["HTTP"], strict=True)]
        figures.append(of_rounds(f"{name} above HTTP, p50", added, "ms", "<= 5"))
        p95 = float(np.percentile(values, 95) - np.percentile(times["HTTP"], 95))
        figures.append(Figure(f"{name} above HTTP, p95", p95, "ms", "<= 5"))
    return figures


async def _measure_many(url: str, numbers: Iterator[int], turns: int = 10) -> float:
    async def ask() -> list[float]:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as session:
            times = []
            for _ in range(turns):
                began = time.perf_counter()
                await session.execute(_CALL, (_text(numbers),))
                times.append(1000 * (time.perf_counter() - began))
            return times

    return float(np.percentile(np.concatenate(await asyncio.gather(*(ask() for _ in range(_SESSIONS)))), 95))
