"""Rows per second of the sidecar and of pgai's own worker, with the same rows and the same timed device.

pgai is no dependency of ours: install it into an environment of its own, and name its program.

    python -m venv pgai && pgai/bin/pip install 'pgai[vectorizer-worker]'
    make bench ARGS="pgai --pgai pgai/bin/pgai"

Its worker embeds over HTTP only, so the device stands behind the OpenAI endpoint of a sidecar without a database; ours
has it in its own process. Both write into a column of the same table, without an index. The worker runs with its
defaults, and with what its documentation offers to make it faster: larger batches, and several at a time.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.figure import Figure, of_rounds, ratio_of
from benchmarks.part import Run
from benchmarks.scratch import execute, scratch_database
from benchmarks.serving.server_process import Bench, server_process
from tests.servers import Server
from tests.waiting import wait_until

MICRO_BATCH = 32
BATCHES_MS = (20.0, 5.0)  # devices of 1,600 texts/s, and of 6,400: what an H100 does
ROWS = 6_000
TUNED_BATCH, TUNED_CONCURRENCY = 256, 4


def measure_pgai(run: Run) -> list[Figure]:
    """From the first vector seen to the last, of a backlog that exists at the start."""
    if run.pgai is None:
        raise SystemExit("the part pgai needs pgai's program: --pgai PATH (benchmarks/ingest/pgai_worker.py says how)")
    return [figure for batch_ms in BATCHES_MS for figure in _compare(run, run.pgai, batch_ms)]


def _compare(run: Run, pgai: str, batch_ms: float) -> list[Figure]:
    ours: list[float] = []
    theirs: list[float] = []
    tuned: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), batch_ms, pinned=False)
        for _ in range(run.rounds):
            ours.append(_ours(run.server, bench))
            theirs.append(_theirs(run.server, bench, pgai, "ai.processing_default()", 1))
            processing = f"ai.processing_default(batch_size => {TUNED_BATCH}, concurrency => {TUNED_CONCURRENCY})"
            tuned.append(_theirs(run.server, bench, pgai, processing, TUNED_CONCURRENCY))
    version = subprocess.run([pgai, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    rate = f"texts, device of {1000 / batch_ms * MICRO_BATCH:,g} texts/s"
    worker = f"pgai {version}'s worker"
    tuning = f"batches of {TUNED_BATCH}, {TUNED_CONCURRENCY} at a time"
    return [
        of_rounds(f"{rate}, sidecar", ours, "rows/s"),
        of_rounds(f"{rate}, {worker}", theirs, "rows/s", is_baseline=True),
        of_rounds(f"{rate}, {worker}, {tuning}", tuned, "rows/s", is_baseline=True),
        ratio_of(f"{rate}, sidecar / pgai's worker", ours, theirs, ">= 5"),
        ratio_of(f"{rate}, sidecar / pgai's worker, {tuning}", ours, tuned),
    ]


@contextmanager
def _table(server: Server) -> Iterator[str]:
    with scratch_database(server) as url:
        execute(
            url,
            "create table docs (id bigint generated always as identity primary key, body text not null)",
            f"insert into docs (body) select 'document number ' || i from generate_series(1, {ROWS}) i",
            "vacuum analyze docs",
        )
        yield url


def _ours(server: Server, bench: Bench) -> float:
    with _table(server) as url:
        execute(url, "select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none')")
        with server_process(bench, "sidecar", database_url=url, batch_max_views=MICRO_BATCH):
            return _drain(url)


def _theirs(server: Server, bench: Bench, pgai: str, processing: str, concurrency: int) -> float:
    with _table(server) as url, server_process(bench, "sidecar", batch_max_views=MICRO_BATCH) as endpoint:
        subprocess.run([pgai, "install", "-d", url], check=True, capture_output=True)
        execute(
            url,
            f"""select ai.create_vectorizer('docs'::regclass, loading => ai.loading_column('body'),
                destination => ai.destination_column('embedding'), chunking => ai.chunking_none(),
                embedding => ai.embedding_openai('batch-timed', 1152, base_url => 'http://127.0.0.1:{endpoint.port}/v1'),
                indexing => ai.indexing_none(), scheduling => ai.scheduling_none(), processing => {processing})""",
        )
        command = [pgai, "vectorizer", "worker", "-d", url, "-c", str(concurrency), "--once", "--log-level", "ERROR"]
        environment = {**os.environ, "OPENAI_API_KEY": "none"}  # noqa: TID251 - of another program
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
            try:
                return _drain(url)
            finally:
                worker.terminate()


def _drain(url: str) -> float:
    """Rows per second between the first vectors seen and the last."""
    with psycopg.connect(url, autocommit=True) as connection:

        def count() -> int:
            row = connection.execute("select count(embedding) from docs").fetchone()
            return 0 if row is None else int(row[0])

        def are_all_done() -> bool:
            time.sleep(0.05)  # counting costs the database time
            return count() == ROWS

        wait_until(count, "the first vector", timeout_s=60)
        first, began = count(), time.perf_counter()
        wait_until(are_all_done, f"{ROWS} vectors", timeout_s=600)
        return (ROWS - first) / (time.perf_counter() - began)
