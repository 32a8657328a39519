"""A cluster of Ray on this machine, and the application on it."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
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
START_S = 90.0
_OF_RAY = re.compile("raylet|gcs_server|ray::|site-packages/ray/")


class LocalCluster:
    """Three nodes with a GPU each. This process is connected to them, and Ray Serve listens on `port`."""

    def __init__(self, cluster: Any, port: int) -> None:
        self._cluster = cluster
        self.address: str = cluster.address
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    @classmethod
    @contextmanager
    def running(cls, directory: str) -> Iterator[LocalCluster]:
        """`directory` is for Ray's files; its path must be short, as it is part of those of sockets."""
        set_ray_defaults()
        # Whatever `directory` is, Ray writes the address here, too. If it cannot, a retry would make a node too many.
        Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray").mkdir(exist_ok=True)  # noqa: S108
        port = _find_port()
        cluster = Cluster()
        try:
            _add_node(cluster, include_dashboard=False, temp_dir=directory)
            for _ in range(_NODES - 1):
                _add_node(cluster)
            ray.init(address=cluster.address, log_to_driver=False, logging_level="WARNING")
            # Proxies of all nodes would share the port here, and one that has just begun answers 404.
            serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
            yield cls(cluster, port)
        finally:
            started = psutil.Process().children(recursive=True)
            serve.shutdown()
            ray.shutdown()
            cluster.shutdown()
            _end(started)

    def complete(self) -> None:
        """Adds nodes until there are as many as at the start."""
        while len(self._cluster.list_all_nodes()) < _NODES:
            _add_node(self._cluster)

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
        wanted_options = RayOptions(**wanted)
        deployment = Deployment(load_settings(), wanted_options)
        try:
            deployment.start(load_encoder)
            yield Application(deployment, wanted_options, self.url)
        finally:
            deployment.stop()


class Application:
    """The deployed application."""

    def __init__(self, deployment: Deployment, options: RayOptions, url: str) -> None:
        self._deployment = deployment
        self._options = options
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

    def scale(self, replicas: int, load_encoder: LoadEncoder) -> None:
        """Exactly so many replicas from now on; those that run stay."""
        options = self._options.model_copy(update={"min_replicas": replicas, "max_replicas": replicas})
        Deployment(load_settings(), options).start(load_encoder)

    def embed(self, text: str) -> httpx.Response:
        return httpx.post(f"{self._url}/embed/text", json={"text": text}, timeout=30)


def _add_node(cluster: Any, **options: Any) -> None:
    """Adds a node. Ray gives it 30 s to start, which a loaded machine may exceed: twice more is tried."""
    for _ in range(2):
        with suppress(Exception):
            cluster.add_node(**_NODE, **options)
            return
    cluster.add_node(**_NODE, **options)


def _end(processes: list[psutil.Process]) -> None:
    """Ends those that still live: an agent of Ray may outlive its node, and a failed start leaves some."""
    _, alive = psutil.wait_procs([each for each in processes if _OF_RAY.search(_name(each))], timeout=2)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _name(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return " ".join([process.name(), *process.cmdline()])
    return ""


def _find_port() -> int:
    """A free port that no process of Ray is given before Serve listens on it: one that the system gives nobody."""
    for port in random.sample(range(20_000, 30_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


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
