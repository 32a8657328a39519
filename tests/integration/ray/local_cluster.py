"""A cluster of Ray on this machine, and the application on it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import ray
from ray import serve
from ray.cluster_utils import Cluster

from sidecar.app import LoadEncoder
from sidecar.config import load_settings, set_ray_defaults
from sidecar.ray.deployment import Deployment
from sidecar.ray.options import RayOptions
from tests.waiting import wait_until

_NODES = 3
_NODE = {"num_cpus": 4, "num_gpus": 1, "object_store_memory": 80 * 1024 * 1024}
START_S = 60.0


class LocalCluster:
    """Three nodes with a GPU each. This process is connected to them, and Ray Serve listens on `port`."""

    def __init__(self, cluster: Any, port: int) -> None:
        self._cluster = cluster
        self.address: str = cluster.address
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    @classmethod
    @contextmanager
    def running(cls, directory: str, port: int) -> Iterator[LocalCluster]:
        set_ray_defaults()
        head = {**_NODE, "include_dashboard": False, "temp_dir": directory}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(_NODES - 1):
                cluster.add_node(**_NODE)
            ray.init(address=cluster.address, log_to_driver=False, logging_level="WARNING")
            serve.start(http_options={"host": "127.0.0.1", "port": port})
            yield cls(cluster, port)
        finally:
            serve.shutdown()
            ray.shutdown()
            cluster.shutdown()

    def complete(self) -> None:
        """Adds nodes until there are as many as at the start."""
        while len(self._cluster.list_all_nodes()) < _NODES:
            self._cluster.add_node(**_NODE)

    def remove_node_of(self, pid: int) -> bool:
        """Ends the node that runs the process, as if its machine had failed. False for the head, which stays."""
        raylet = psutil.Process(pid).ppid()
        node = next(n for n in self._cluster.list_all_nodes() if n.all_processes["raylet"][0].process.pid == raylet)
        if node is self._cluster.head_node:
            return False
        self._cluster.remove_node(node, allow_graceful=False)
        return True

    @contextmanager
    def deployed(self, load_encoder: LoadEncoder, **options: Any) -> Iterator[Application]:
        """The application inside the block, of the settings in the environment."""
        wanted = {"gpus_per_replica": 1, "cpus_per_replica": 1, "health_check_period_s": 0.5, **options}
        deployment = Deployment(load_settings(), RayOptions(**wanted))
        try:
            deployment.start(load_encoder)
            yield Application(deployment, self.url)
        finally:
            deployment.stop()


class Application:
    """The deployed application."""

    def __init__(self, deployment: Deployment, url: str) -> None:
        self._deployment = deployment
        self._url = url

    def replicas(self) -> dict[str, int]:
        """The number of replicas by state. Raises DeploymentFailed."""
        counts = self._deployment.describe().removeprefix("replicas: ").split(", ")
        return {state: int(count) for count, _, state in (part.partition(" ") for part in counts if part[0].isdigit())}

    def wait_for(self, running: int, timeout_s: float = START_S) -> None:
        """Until so many replicas run, and no other is starting or stopping."""
        wait_until(
            lambda: self.replicas() == {"running": running},
            lambda: f"{running} replicas; there are {self.replicas()}",
            timeout_s,
        )

    def embed(self, text: str) -> httpx.Response:
        return httpx.post(f"{self._url}/embed/text", json={"text": text}, timeout=30)


def kill_actor(pid: int) -> None:
    """`ray.kill` of the replica in that process."""
    for named in ray.util.list_named_actors(all_namespaces=True):
        if named["name"].startswith("SERVE_REPLICA"):
            actor = ray.get_actor(named["name"], namespace=named["namespace"])
            if ray.get(actor.__ray_call__.remote(_pid)) == pid:
                ray.kill(actor)
                return
    raise AssertionError(f"no replica has the process {pid}")


def _pid(_actor: Any) -> int:
    return os.getpid()


def kill_process(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
