"""Deploys the application to a cluster, follows how many replicas there are, and takes it down again."""

from __future__ import annotations

from collections import Counter

import ray
from ray import serve
from ray.serve.schema import ApplicationStatus

from sidecar.app import LoadEncoder, load_embedding_model
from sidecar.config import Settings
from sidecar.errors import SidecarError
from sidecar.listening import bind_hosts
from sidecar.ray.application import NAME, build
from sidecar.ray.options import RayOptions

_CONTROLLER = "SERVE_CONTROLLER_ACTOR"


class DeploymentFailed(SidecarError):
    """Ray Serve could not start the application."""


class Deployment:
    """The application `sidecar` on the cluster that this process is connected to."""

    def __init__(self, settings: Settings, options: RayOptions) -> None:
        self._settings = settings
        self._options = options
        self._owns_serve = False

    def start(self, load_encoder: LoadEncoder = load_embedding_model) -> list[str]:
        """Starts the deployment, or replaces a running one replica by replica. Returns lines that say where."""
        host, port = bind_hosts(self._settings.bind_host)[0], self._settings.bind_port
        self._owns_serve = not _serve_is_running()
        if self._owns_serve:
            serve.start(http_options={"host": host, "port": port})
            lines = [f"Ray Serve listens on {host}:{port} of each node that has a replica"]
        else:
            lines = ["Ray Serve runs already: it listens where it was told to, whatever BIND_HOST and BIND_PORT say"]
        app = build(self._settings, self._options, load_encoder)
        serve.run_many([serve.RunTarget(app, name=NAME, route_prefix="/")], wait_for_applications_running=False)
        return lines

    def describe(self) -> str:
        """The replicas by state. Raises DeploymentFailed if the application cannot be started."""
        status = serve.status().applications.get(NAME)
        if status is None:
            raise DeploymentFailed("the application was deleted from Ray Serve")
        states: Counter[str] = Counter()
        message = status.message
        for deployment in status.deployments.values():
            message = deployment.message or message
            for state, count in deployment.replica_states.items():
                states[state.lower()] += count
        if status.status is ApplicationStatus.DEPLOY_FAILED:
            raise DeploymentFailed(f"Ray Serve cannot start the replicas: {_reason(message)}")
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        return f"replicas: {counts or 'none yet'}"

    def stop(self) -> None:
        """Stops all replicas in order; they give back their rows."""
        serve.delete(NAME)
        if self._owns_serve:
            serve.shutdown()


def _serve_is_running() -> bool:
    try:
        ray.get_actor(_CONTROLLER, namespace="serve")
    except ValueError:
        return False
    return True


def _reason(message: str) -> str:
    """The error within Ray's tracebacks."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    ours = [line for line in lines if "StartFailed: " in line]
    return ours[-1].partition("StartFailed: ")[2] if ours else (lines[-1] if lines else "no reason was given")
