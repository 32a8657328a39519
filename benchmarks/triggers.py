"""What the triggers cost the user's own statements."""

from __future__ import annotations

import statistics
import time

import psycopg

from benchmarks.figure import Figure
from benchmarks.scratch import execute, scratch_database
from tests.servers import Server

ROUNDS = 7
IMAGE_BYTES = 100_000


def measure_triggers(server: Server, rows: int) -> list[Figure]:
    """Watched and unwatched tables of the same shape, written to in turns."""
    with scratch_database(server) as url:
        columns = "id bigint generated always as identity primary key, body text, photo bytea, price int"
        vectors = "body_embedding vector(1152), photo_embedding vector(1152)"
        execute(
            url,
            f"create table watched ({columns})",
            f"create table bare ({columns}, {vectors})",
            "select sidecar.watch('watched', source => 'body', index => 'none')",
        )
        insert = _bulk_insert(url, rows)
        execute(url, "select sidecar.watch('watched', source => 'photo', index => 'none')")
        unrelated = _unrelated_update(url)
    return [
        Figure("trigger cost of a bulk insert", insert, "us/row", "<= 8"),
        Figure("unrelated UPDATE of rows with a 100 KB image, watched / not watched", unrelated, "ratio", "<= 1.1"),
    ]


def _bulk_insert(url: str, rows: int) -> float:
    """Median difference in µs per row."""
    differences = []
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(ROUNDS):
            times = {}
            for name in ("bare", "watched"):
                started = time.perf_counter()
                connection.execute(
                    f"insert into {name} (body) select 'document ' || i from generate_series(1, {rows}) i".encode()
                )
                times[name] = time.perf_counter() - started
            differences.append((times["watched"] - times["bare"]) / rows * 1e6)
            connection.execute("truncate watched, bare")
            connection.execute("truncate sidecar.events_1")
    return statistics.median(differences)


def _unrelated_update(url: str) -> float:
    """Median ratio of the times of UPDATE … SET price on 500 rows with an incompressible picture each."""
    ratios = []
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ("bare", "watched"):
            connection.execute(
                f"insert into {name} (photo) select string_agg(sha256((i * 10000 + j)::text::bytea), '') "
                f"from generate_series(1, 500) i, generate_series(1, {IMAGE_BYTES // 32}) j group by i".encode()
            )
        connection.execute("vacuum analyze bare, watched")
        for turn in range(ROUNDS * 3):
            times = {}
            for name in ("bare", "watched") if turn % 2 else ("watched", "bare"):
                started = time.perf_counter()
                connection.execute(f"update {name} set price = {turn}".encode())
                times[name] = time.perf_counter() - started
            ratios.append(times["watched"] / times["bare"])
    return statistics.median(ratios)
