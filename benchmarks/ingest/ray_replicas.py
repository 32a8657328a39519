"""Replicas on a cluster of Ray: rows per second of one, two and three, each with a timed device and a node of its own.

`python -m benchmarks.ingest.ray_replicas` shows instead how their number follows a backlog: up, and down again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import psycopg

from benchmarks.figure import Figure, of_rounds, ratio_of
from benchmarks.part import Run
from benchmarks.scratch import execute, scratch_database, scratch_server
from sidecar.batching.encoder import Encoder
from sidecar.config import Settings, adopt_variables
from tests.encoders import TimedEncoder
from tests.servers import Server
from tests.waiting import wait_until

MICRO_BATCH = 8
TEXTS_PER_S = 100
TARGETS = {2: ">= 1.8", 3: ">= 2.5"}
MEASURED_S, SETTLED_S = 4.0, 1.5
_BACKLOG = 40_000  # all three are busy to the end, however slowly they start
_SHOWN_ROWS, _SHOWN_S = 9_000, 120.0
_TAKING_PART = (
    b"select count(distinct substr(lease_token::text, 1, 18)) from sidecar_internal.events_1 where lease_until > now()"
)
_VECTORS = b"select count(embedding) from docs"


def load_device(_settings: Settings) -> Encoder:
    """Ray loads it by its name, in the replica's process."""
    return TimedEncoder(1000 / TEXTS_PER_S, "timed")


def measure_ray(run: Run) -> list[Figure]:
    """Within a round, a second and a third replica join the first."""
    from tests.integration.ray.local_cluster import LocalCluster

    rates: list[dict[int, float]] = []
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as directory,
        LocalCluster.running(directory) as ray,
    ):
        for _ in range(run.rounds):
            with _backlog(run.server, _BACKLOG) as database:
                rates.append(_rates(ray, database))
    one = [each[1] for each in rates]
    figures = [of_rounds("1 replica on Ray", one, "rows/s", is_baseline=True)]
    for count, target in TARGETS.items():
        several = [each[count] for each in rates]
        figures.append(of_rounds(f"{count} replicas on Ray", several, "rows/s"))
        figures.append(ratio_of(f"{count} replicas on Ray / 1", several, one, target))
    return figures


@contextmanager
def _backlog(server: Server, rows: int) -> Iterator[psycopg.Connection]:
    """A watched table with rows to embed, whose database is that of the replicas."""
    with scratch_database(server) as url:
        execute(
            url,
            "create table docs (id bigint generated always as identity primary key, body text)",
            "select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none')",
            "delete from sidecar_internal.scans",
            f"insert into docs (body) select 'document number ' || i from generate_series(1, {rows}) i",
            "vacuum analyze docs",
        )
        adopt_variables(_variables(url))
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection


def _variables(url: str) -> Mapping[str, str]:
    return {
        "DATABASE_URL": url,
        "REQUIRE_CUDA": "0",
        "DECODE_PROCESSES": "1",
        "BATCH_MAX_VIEWS": str(MICRO_BATCH),
        "LOG_LEVEL": "WARNING",
        "RERANK": "off",
    }


def _rates(ray: object, database: psycopg.Connection) -> dict[int, float]:
    """Rows per second by the number of replicas, on one backlog."""
    from tests.integration.ray.local_cluster import LocalCluster

    assert isinstance(ray, LocalCluster)
    rates: dict[int, float] = {}
    with ray.deployed(load_device, min_replicas=1, max_replicas=1) as app:
        for count in range(1, len(TARGETS) + 2):
            if count > 1:
                app.scale(count, load_device)
            app.wait_for(count, 180)
            wait_until(partial(_have_rows, database, count), "all replicas to have rows", 60)
            time.sleep(SETTLED_S)
            before, began = _count(database, _VECTORS), time.perf_counter()
            time.sleep(MEASURED_S)
            rates[count] = (_count(database, _VECTORS) - before) / (time.perf_counter() - began)
    return rates


def _have_rows(database: psycopg.Connection, replicas: int) -> bool:
    return _count(database, _TAKING_PART) == replicas


def _count(database: psycopg.Connection, query: bytes) -> int:
    row = database.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def show_scaling() -> None:
    """Prints time, replicas, pending rows and rows/s: every ten seconds, and when the number of replicas changes."""
    from tests.integration.ray.local_cluster import LocalCluster

    options = {"max_replicas": 3, "target_lag_s": 20, "upscale_delay_s": 5, "downscale_delay_s": 15}
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as directory,
        LocalCluster.running(directory) as ray,
        scratch_server() as server,
        _backlog(server, 0) as database,
        ray.deployed(load_device, **options) as app,
    ):
        app.wait_for(1, 180)
        database.execute(
            f"insert into docs (body) select 'document ' || i from generate_series(1, {_SHOWN_ROWS}) i".encode()
        )
        began = shown_at = time.monotonic()
        before, shown, done_at = 0, "", None
        while done_at is None or time.monotonic() < done_at + _SHOWN_S:
            now = time.monotonic()
            state = ", ".join(f"{count} {name}" for name, count in sorted(app.replicas().items()))
            vectors = _count(database, _VECTORS)
            if state != shown or now - shown_at >= 10:
                rate = (vectors - before) / max(now - shown_at, 0.001)
                print(
                    f"{now - began:6.0f} s  {state:24}  {_SHOWN_ROWS - vectors:6,} pending  {rate:5.0f} rows/s",
                    flush=True,
                )
                shown, shown_at, before = state, now, vectors
            if vectors == _SHOWN_ROWS:
                done_at = done_at or now
                if state == "1 running":
                    return
            time.sleep(0.5)


if __name__ == "__main__":
    show_scaling()
