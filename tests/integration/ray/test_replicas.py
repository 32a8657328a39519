"""Replicas of the whole sidecar behind Ray Serve: what they serve, and what happens when they die."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psycopg
import pytest
import ray
from ray import serve

from sidecar.ray.deployment import DeploymentFailed
from tests.integration.ray.devices import FATAL_TEXT, FragileEncoder, fail_to_load, load_timed
from tests.integration.ray.local_cluster import START_S, Application, LocalCluster, kill_actor, kill_process
from tests.integration.ray.texts import make_table, pids_with_leases, value, wrong_vectors
from tests.waiting import wait_until

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("environment")]

LEASE_S = 60.0
ROWS = 1500


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        make_table(connection)
        yield connection


def test_a_replica_embeds_queries_and_rows_as_the_settings_of_the_deploying_process_say(
    cluster: LocalCluster, db: psycopg.Connection
) -> None:
    db.execute("insert into docs (body) select 'row ' || i from generate_series(1, 50) i")
    with cluster.deployed(load_timed) as app:
        app.wait_for(1)
        answer = app.embed("hello")
        assert answer.status_code == 200, answer.text
        assert np.allclose(answer.json()["embedding"], FragileEncoder().vector_of("hello"), atol=1e-4)
        wait_until(lambda: not wrong_vectors(db), "all rows to have their vectors")
        wait_until(_exports_metrics, "Ray to export the replica's metrics")
    assert value(db, "select count(*) from sidecar_internal.sidecars") == 0  # it has signed off


def _exports_metrics() -> bool:
    """Whether a node's page for Prometheus has the number of rows of the replica."""
    ports = [node["MetricsExportPort"] for node in ray.nodes() if node["Alive"]]
    pages = [httpx.get(f"http://127.0.0.1:{port}/metrics").text for port in ports]
    lines = [line for page in pages for line in page.splitlines() if line.startswith("ray_sidecar_events_total{")]
    return any('outcome="embedded"' in line and "replica=" in line and line.endswith(" 50.0") for line in lines)


def _remove_node(cluster: LocalCluster, pids: list[int]) -> None:
    assert any(cluster.remove_node_of(pid) for pid in pids)


@pytest.mark.parametrize(
    "end_one",
    [
        pytest.param(lambda _cluster, pids: kill_actor(pids[0]), id="ray.kill"),
        pytest.param(lambda _cluster, pids: kill_process(pids[0]), id="SIGKILL"),
        pytest.param(_remove_node, id="node-removed"),
    ],
)
def test_a_replica_that_dies_is_replaced_and_its_rows_are_taken_over_at_once(
    cluster: LocalCluster, db: psycopg.Connection, end_one: Callable[[LocalCluster, list[int]], None]
) -> None:
    with cluster.deployed(load_timed, min_replicas=2, max_replicas=2) as app:
        app.wait_for(2)
        wait_until(lambda: app.embed("hello").status_code == 200, "the proxy to have heard of the application")
        with _clients(app) as statuses:
            db.execute(f"insert into docs (body) select 'row ' || i from generate_series(1, {ROWS}) i")
            wait_until(lambda: len(pids_with_leases(db)) == 2, "both replicas to have rows")
            began = time.monotonic()
            end_one(cluster, pids_with_leases(db))
            wait_until(lambda: not wrong_vectors(db), "all rows to have their vectors", LEASE_S)
            took_s = time.monotonic() - began
            app.wait_for(2)
            after = Counter(statuses)
            wait_until(lambda: statuses[200] > after[200] + 20, "queries to be answered again")
    assert took_s < LEASE_S / 2  # nobody waited for a lease to run out
    assert set(statuses) <= {200, 500, 503}, statuses
    assert statuses[500] + statuses[503] <= 10, statuses  # of those that were in flight
    assert value(db, "select count(*) from sidecar.failures") == 0


@contextmanager
def _clients(app: Application) -> Iterator[Counter[int]]:
    """Four clients that send one query after another; yields the statuses of their answers. 0: none came."""
    statuses: Counter[int] = Counter()
    stop = threading.Event()

    def ask(number: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            try:
                statuses[app.embed(f"query {number} {count}").status_code] += 1
            except httpx.HTTPError:
                statuses[0] += 1

    threads = [threading.Thread(target=ask, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_replica_whose_device_is_lost_ends_and_another_takes_its_place(
    cluster: LocalCluster, db: psycopg.Connection
) -> None:
    with cluster.deployed(load_timed) as app:
        app.wait_for(1)
        wait_until(lambda: value(db, "select pid from sidecar_internal.sidecars"), "its heartbeat")
        first = value(db, "select pid from sidecar_internal.sidecars")
        assert app.embed(FATAL_TEXT).status_code >= 500
        wait_until(
            lambda: value(db, "select max(pid) filter (where pid <> %s) from sidecar_internal.sidecars", first),
            "another process",
            START_S,
        )
        app.wait_for(1)
        assert app.embed("hello").status_code == 200


def test_a_model_that_cannot_be_loaded_fails_the_deployment_with_its_reason(cluster: LocalCluster) -> None:
    with (
        cluster.deployed(fail_to_load) as app,
        pytest.raises(DeploymentFailed, match="there is no model of that name"),
    ):
        app.wait_for(1)


def test_serve_run_deploys_the_application_with_arguments_and_the_real_model(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISION_MODEL_ID", "demo")
    command = ["serve", "run", "--non-blocking", "--address", cluster.address, "--name", "sidecar"]
    program = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
    subprocess.run([*program, "sidecar.ray:app", "gpus_per_replica=0", "cpus_per_replica=1"], check=True, timeout=120)
    try:
        answer = httpx.post(f"{cluster.url}/embed/text", json={"text": "a cat"}, timeout=60)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["embedding"]) == 1152
    finally:
        serve.delete("sidecar")


def test_the_command_says_how_many_replicas_run_and_stops_them_on_ctrl_c(
    cluster: LocalCluster, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VISION_MODEL_ID", "demo")
    program = str(Path(sys.executable).with_name("sidecar"))
    options = ["--address", cluster.address, "--gpus-per-replica", "0", "--cpus-per-replica", "1"]
    output = tmp_path / "output"
    with output.open("w") as file:
        command = subprocess.Popen([program, "ray", *options], stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "replicas: 1 running" in output.read_text(), output.read_text, START_S)
        wait_until(lambda: value(db, "select count(*) from sidecar_internal.sidecars") == 1, "it to sign on", START_S)
        command.send_signal(signal.SIGINT)
        assert command.wait(START_S) == 0, output.read_text()
    finally:
        command.kill()
        command.wait()
    assert "Stopping: replicas finish what they have, and give back the rest." in output.read_text()
    assert "sidecar" not in serve.status().applications
    assert value(db, "select count(*) from sidecar_internal.sidecars") == 0  # it has signed off


def test_a_backlog_brings_more_replicas_and_its_end_fewer(cluster: LocalCluster, db: psycopg.Connection) -> None:
    settings = {"target_lag_s": 2, "target_backlog_s": 2, "upscale_delay_s": 0, "downscale_delay_s": 1}
    with cluster.deployed(load_timed, max_replicas=3, **settings) as app:
        app.wait_for(1)
        db.execute("insert into docs (body) select 'row ' || i from generate_series(1, 4000) i")
        app.wait_for(3)
        assert wrong_vectors(db)  # there is still work
        wait_until(lambda: not wrong_vectors(db), "all rows to have their vectors", LEASE_S)
        app.wait_for(1)
    assert value(db, "select count(*) from sidecar.failures") == 0
