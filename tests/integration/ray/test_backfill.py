"""`sidecar backfill --ray`: all GPUs of a cluster, until no row is pending."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import ray

from sidecar.config import load_settings
from sidecar.ray.backfill import RayWorkers
from sidecar.ray.options import RayOptions
from tests.integration.ray.devices import load_timed
from tests.integration.ray.local_cluster import START_S, LocalCluster, kill_process
from tests.integration.ray.texts import make_table, pids_with_leases, value, wrong_vectors
from tests.waiting import wait_until

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("environment")]

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        make_table(connection)
        yield connection


@contextmanager
def _backfill(cluster: LocalCluster) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.ray.backfill_process", cluster.address],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_worker_that_nobody_has_heard_of_yet_gives_back_its_rows_too(
    cluster: LocalCluster, db: psycopg.Connection
) -> None:
    db.execute("insert into docs (body) select 'row ' || i from generate_series(1, 2000) i")
    options = RayOptions(gpus_per_replica=1, cpus_per_replica=1)
    workers = RayWorkers(load_settings(), options, 1, load_timed)
    try:
        workers.check()  # it is asked to start
        wait_until(lambda: pids_with_leases(db), f"a worker on {cluster.address} to have rows", START_S)
    finally:
        workers.stop()
    assert not pids_with_leases(db)


def test_it_goes_on_after_ctrl_c_and_after_the_death_of_a_worker_and_then_lets_the_gpus_go(
    cluster: LocalCluster, db: psycopg.Connection
) -> None:
    rows = 2000
    db.execute(f"insert into docs (body) select 'row ' || i from generate_series(1, {rows}) i")
    with _backfill(cluster) as first:
        wait_until(lambda: value(db, "select count(embedding) > 0 from docs"), "the first rows", START_S)
        first.send_signal(signal.SIGINT)
        _, errors = first.communicate(timeout=30)
    assert first.returncode == 130
    stopped = re.search(r"Stopped: ([\d,]+) rows are pending\. The same command goes on\.", errors)
    assert stopped, errors
    assert not pids_with_leases(db)  # they have given back what they had
    assert 0 < value(db, "select count(embedding) from docs") < rows

    with _backfill(cluster) as second:
        wait_until(lambda: len(pids_with_leases(db)) == 3, "all workers to have rows", START_S)
        kill_process(pids_with_leases(db)[0])
        output, errors = second.communicate(timeout=START_S)
    assert second.returncode == 0, errors
    assert "3 workers (3 new)" in output
    assert re.search(r"worker \d on \S+ died; Ray starts it again|worker \d is ready", output), output
    assert re.search(r"docs\.embedding: [\d,]+ rows in 0:00:\d\d", output), output
    assert not wrong_vectors(db)
    assert value(db, "select count(*) from sidecar.failures") == 0
    wait_until(lambda: ray.available_resources().get("GPU") == 3.0, "the GPUs to be free", START_S)
