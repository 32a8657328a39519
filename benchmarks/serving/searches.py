"""What each kind of `/search` costs beside a plain one, in one run with a device that takes no time."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import httpx
import psycopg

from benchmarks.figure import Figure, in_chunks, of_rounds, ratio_of
from benchmarks.scratch import DIMENSIONS, scratch_database
from benchmarks.serving.server_process import Bench, server_process
from tests.servers import Server
from tests.waiting import wait_until

ROWS = 10_000
_WARM_CALLS = 10
_BUILT_WITHIN_S = 600.0
_PLAIN = "a text"

# One row in a hundred has each colour; half of the prices are below 500.
_TABLE = f"""
    create table goods (id int primary key, title text, colour int, price numeric);
    insert into goods select i, format('shade%s bicycle number %s', i % 100, i), i % 100, i % 1000
        from generate_series(1, {ROWS}) i;
    create index on goods (colour);
    create index on goods using gin (to_tsvector('simple', coalesce(title, '')));
    select sidecar.watch('goods', 'title', target => 'e', expose => array['title', 'colour', 'price']);
    analyze goods
"""

Body: TypeAlias = dict[str, Any]

# What a search has beside its table.
_SEARCHES: Mapping[str, Body] = {
    "a filter that half of the rows meet": {"filter": {"price": {"$lt": 500}}},
    "a filter that one row in 100 meets": {"filter": {"colour": 7}},
    "a filter of ten conditions": {"filter": {"$or": [{"colour": n, "price": {"$gte": 100}} for n in range(5)]}},
    "min_score": {"min_score": -1},
    "the eleventh page, by offset": {"offset": 100},
    "hybrid, with words of one row in 100": {"hybrid": {"config": "simple"}},
    "diversity": {"diversity": 0.3},
}


async def measure_searches(server: Server, rounds: int, calls: int = 200) -> list[Figure]:
    """Each kind of search in turns with a plain one, of texts that were never asked for. One client, ten rows each."""
    with (
        scratch_database(server) as url,
        psycopg.connect(url, autocommit=True) as admin,
        tempfile.TemporaryDirectory() as directory,
    ):
        admin.execute(_TABLE)
        bench = Bench(Path(directory), 0.0, instant_dimensions=DIMENSIONS)
        with server_process(bench, "sidecar", database_url=url) as sidecar:
            wait_until(lambda: _is_built(admin), "the rows to have vectors and an index", _BUILT_WITHIN_S)
            times = await _in_turns(sidecar.port, calls)
    plain = [median(part) for part in in_chunks(times[_PLAIN], rounds)]
    figures = [of_rounds(f"/search of {ROWS:,} rows by a text, p50", plain, "ms", is_baseline=True)]
    for name in times:
        if name != _PLAIN:
            theirs = [median(part) for part in in_chunks(times[name], rounds)]
            figures.append(ratio_of(f"/search, {name} / plain, p50", theirs, plain))
    return figures


def _is_built(admin: psycopg.Connection[tuple[Any, ...]]) -> bool:
    found = admin.execute("select pending, index from sidecar.status").fetchone()
    return found is not None and found[0] == 0 and str(found[1]).endswith("_hnsw_1")


async def _in_turns(port: int, calls: int) -> dict[str, list[float]]:
    """Milliseconds of each call, by kind of search."""
    numbers = count()
    times: dict[str, list[float]] = {name: [] for name, _ in _bodies(numbers)}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        for _ in range(_WARM_CALLS + calls):
            turn = list(_bodies(numbers))
            random.shuffle(turn)  # each finds the connections and caches of any other
            for name, body in turn:
                began = time.perf_counter()
                answer = await http.post("/search", json={"table": "goods", **body})
                times[name].append(1000 * (time.perf_counter() - began))
                answer.raise_for_status()
    return {name: values[_WARM_CALLS:] for name, values in times.items()}


def _bodies(numbers: Iterator[int]) -> Iterator[tuple[str, Body]]:
    yield _PLAIN, {"text": _text(numbers)}
    for name, options in _SEARCHES.items():
        yield name, {"text": _text(numbers), **options}
    key = next(numbers) % ROWS + 1
    yield "mixed with a row's vector", {"query": [{"text": _text(numbers)}, {"key": key, "weight": 0.5}]}


def _text(numbers: Iterator[int]) -> str:
    number = next(numbers)
    return f"shade{number % 100} or unseen{number}"
