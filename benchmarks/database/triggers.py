"""Cost of the triggers for the users' own statements."""

from __future__ import annotations

import time

import psycopg

from benchmarks.figure import Figure, of_rounds
from benchmarks.scratch import execute, scratch_database
from tests.servers import Server

ROUNDS = 7
IMAGE_BYTES = 100_000
UPDATED_ROWS = 500


def measure_triggers(server: Server, rows: int) -> list[Figure]:
    """Write in turns to a watched and an unwatched table of the same shape."""
    with scratch_database(server) as url:
        columns = "id bigint generated always as identity primary key, body text, photo bytea, price int"
        vectors = "body_embedding vector(1152), photo_embedding vector(1152)"
        execute(
            url,
            f"create table watched ({columns})",
            f"create table bare ({columns}, {vectors})",
            "select sidecar.watch('watched', source => 'body', index => 'none')",
        )
        insert, delete = _bulk_insert(url, rows)
        execute(url, "select sidecar.watch('watched', source => 'photo', index => 'none')")
        ratios, extra_us = _unrelated_update(url)
        spilt_mb = _temporary_mb(url)
    return [
        of_rounds("trigger cost of a bulk insert", insert, "us/row", "<= 8"),
        of_rounds("trigger cost of a bulk delete", delete, "us/row", "<= 8"),
        Figure("INSERT and DELETE of 60 MB of pictures, temporary files", spilt_mb, "MB", "<= 0"),
        of_rounds("unrelated UPDATE of rows with a 100 KB image, watched / not watched", ratios, "ratio"),
        of_rounds("unrelated UPDATE of rows with a 100 KB image, extra cost", extra_us, "us/row", "<= 1"),
    ]


def _bulk_insert(url: str, rows: int) -> tuple[list[float], list[float]]:
    """Differences in µs per row, of the INSERT and of a DELETE of the same rows."""
    inserts: list[float] = []
    deletes: list[float] = []
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(ROUNDS):
            for differences, statement in (
                (inserts, f"insert into {{}} (body) select 'document ' || i from generate_series(1, {rows}) i"),
                (deletes, "delete from {}"),
            ):
                times = {}
                for name in ("bare", "watched"):
                    started = time.perf_counter()
                    connection.execute(statement.format(name).encode())
                    times[name] = time.perf_counter() - started
                differences.append((times["watched"] - times["bare"]) / rows * 1e6)
            connection.execute("truncate watched, bare")
            connection.execute("truncate sidecar_internal.events_1")
    return inserts, deletes


def _temporary_mb(url: str) -> float:
    """MB of temporary files written by a bulk INSERT of 60 MB of pictures and the DELETE after it."""
    noise = "string_agg(sha256((i * 10000 + j)::text::bytea), '')"
    series = f"generate_series(1, 600) i, generate_series(1, {IMAGE_BYTES // 32}) j"
    sizes = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set work_mem = '256MB'; truncate watched")  # for the query's own sort
        connection.execute(f"create temp table pictures as select {noise} as photo from {series} group by i".encode())
        connection.execute("set work_mem = '4MB'")
        for statement in (None, "insert into watched (photo) select photo from pictures", "delete from watched"):
            if statement is not None:
                connection.execute(statement.encode())
            connection.execute("select pg_stat_force_next_flush()")
            row = connection.execute(
                "select temp_bytes from pg_stat_database where datname = current_database()"
            ).fetchone()
            sizes.append(row[0] if row else 0)
    return float(sizes[-1] - sizes[0]) / 1e6


def _unrelated_update(url: str) -> tuple[list[float], list[float]]:
    """UPDATE … SET price on rows with incompressible pictures: ratios, and differences in µs per row."""
    ratios, differences = [], []
    noise = "string_agg(sha256((i * 10000 + j)::text::bytea), '')"
    series = f"generate_series(1, {UPDATED_ROWS}) i, generate_series(1, {IMAGE_BYTES // 32}) j"
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ("bare", "watched"):
            connection.execute(f"insert into {name} (photo) select {noise} from {series} group by i".encode())
        connection.execute("vacuum analyze bare, watched")
        for turn in range(ROUNDS * 3):
            times = {}
            for name in ("bare", "watched") if turn % 2 else ("watched", "bare"):
                started = time.perf_counter()
                connection.execute(f"update {name} set price = {turn}".encode())
                times[name] = time.perf_counter() - started
            ratios.append(times["watched"] / times["bare"])
            differences.append((times["watched"] - times["bare"]) / UPDATED_ROWS * 1e6)
    return ratios, differences
