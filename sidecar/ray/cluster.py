"""The connection of a command to a cluster of Ray: an existing one, or one that it starts on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from sidecar.config import set_ray_defaults
from sidecar.errors import SidecarError

_QUIET_SERVE = {"RAY_SERVE_LOG_TO_STDERR": "0"}  # its own log is in Ray's files; the sidecars' goes to stderr
_LOCAL_OBJECTS_BYTES = 200_000_000  # of a cluster that we start: what goes over Ray are requests, no data


class ClusterUnavailable(SidecarError):
    """No cluster of Ray can be reached, or started."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """`is_own`: it was started by this process, and ends with it."""

    address: str
    is_own: bool
    nodes: int
    cpus: float
    gpus: float

    def __str__(self) -> str:
        what = "Started Ray on this machine" if self.is_own else f"Connected to Ray at {self.address}"
        nodes = "1 node" if self.nodes == 1 else f"{self.nodes} nodes"
        return f"{what}: {nodes}, {self.cpus:g} CPUs, {self.gpus:g} GPUs"


@contextmanager
def connected(address: str | None, *, shows_logs: bool) -> Iterator[Cluster]:
    """Inside the block this process is connected. `address` as of `ray.init`: None for RAY_ADDRESS, else a new cluster.

    Raises ClusterUnavailable.
    """
    set_ray_defaults()
    logging.getLogger("ray.serve").setLevel("WARNING")
    options: dict[str, Any] = {
        "log_to_driver": shows_logs,
        "logging_level": "WARNING",
        "namespace": "sidecar",
        "runtime_env": {"env_vars": _QUIET_SERVE},
    }
    own = False
    try:
        try:
            ray.init(address or "auto", **options)
        except ConnectionError:
            if address not in {None, "local"}:
                raise
            own = True
            ray.init("local", include_dashboard=False, object_store_memory=_LOCAL_OBJECTS_BYTES, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        hint = "HINT: ray status shows a cluster; ray start --head starts one; without --address one is started here."
        raise ClusterUnavailable(f"no cluster of Ray at {address or 'this machine'}: {error}\n{hint}") from error
    try:
        resources = ray.cluster_resources()
        nodes = sum(bool(node["Alive"]) for node in ray.nodes())
        where = ray.get_runtime_context().gcs_address
        yield Cluster(where, own, nodes, resources.get("CPU", 0.0), resources.get("GPU", 0.0))
    finally:
        ray.shutdown()
