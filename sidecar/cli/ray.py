"""`sidecar ray`"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.options import DatabaseUrl
from sidecar.cli.output import echo
from sidecar.cli.ray_options import Address, Cpus, Gpus, needing_ray
from sidecar.cli.serve import Port, load_settings_with
from sidecar.errors import ConfigurationError

if TYPE_CHECKING:
    from sidecar.ray.deployment import Deployment

_POLL_S = 1.0


class _Stopped(Exception):
    """SIGINT or SIGTERM."""


def ray(  # noqa: PLR0913 - one parameter for every option of the command
    address: Address = None,
    min_replicas: Annotated[int, typer.Option(metavar="N", min=1, help="Replicas at least.")] = 1,
    max_replicas: Annotated[int, typer.Option(metavar="N", min=1, help="Replicas at most.")] = 4,
    gpus_per_replica: Gpus = None,
    cpus_per_replica: Cpus = None,
    target_backlog_s: Annotated[
        float, typer.Option(metavar="S", help="More replicas while a backfill would take longer than this.")
    ] = 600,
    target_lag_s: Annotated[
        float, typer.Option(metavar="S", help="More replicas while changed rows would wait longer than this.")
    ] = 30,
    target_ongoing_requests: Annotated[
        float, typer.Option(metavar="N", help="More replicas while each has more requests in progress than this.")
    ] = 64,
    downscale_delay_s: Annotated[
        float, typer.Option(metavar="S", help="Time for which fewer replicas must do, before one is stopped.")
    ] = 300,
    port: Port = None,
    detach: Annotated[bool, typer.Option("--detach", help="Deploy, and leave it to the cluster.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Run replicas of the service on a cluster of Ray, until Ctrl-C.

    There are as many as backlog, lag and requests call for. Each is a whole `sidecar serve` with its own GPU;
    Ray Serve does the HTTP. The settings are the environment variables of this command. With KubeRay:
    serve run sidecar.ray:app

    \b
    Examples:
      sidecar ray --max-replicas 8
      sidecar ray --address 10.0.0.5:6379 --min-replicas 2 --detach
    """
    from sidecar.config import adopt_variables

    if database_url is not None:
        adopt_variables({"DATABASE_URL": database_url, "DATABASE_URL_FILE": ""})
    settings = load_settings_with(port)
    with needing_ray():
        from sidecar.ray.cluster import connected
        from sidecar.ray.deployment import Deployment
        from sidecar.ray.options import read_options
    from sidecar.server import require_keys_beyond_loopback

    options = read_options(
        {
            "min_replicas": min_replicas,
            "max_replicas": max_replicas,
            "gpus_per_replica": gpus_per_replica,
            "cpus_per_replica": cpus_per_replica,
            "target_backlog_s": target_backlog_s,
            "target_lag_s": target_lag_s,
            "target_ongoing_requests": target_ongoing_requests,
            "downscale_delay_s": downscale_delay_s,
        }
    )
    require_keys_beyond_loopback(settings)
    with connected(address, shows_logs=not detach) as cluster:
        echo(f"{cluster}")
        if detach and cluster.is_own:
            hint = "HINT: ray start --head starts a cluster that stays."
            raise ConfigurationError([f"--detach: the cluster that was started here ends with this command.\n{hint}"])
        deployment = Deployment(settings, options)
        for line in deployment.start():
            echo(line)
        echo(
            f"{min_replicas} to {max_replicas} replicas, each with {options.gpus(settings):g} GPUs and "
            f"{options.cpus(settings):g} CPUs"
        )
        if detach:
            echo("Left to the cluster. serve status shows it; sidecar ray redeploys it; serve shutdown ends it.")
            return
        _follow(deployment)


def _follow(deployment: Deployment) -> None:
    """Prints how many replicas there are whenever that changes, until a signal; then stops them."""
    shown = ""
    try:
        with _raising_on_signals():
            while True:
                if (line := deployment.describe()) != shown:
                    echo(f"{time.strftime('%H:%M:%S')} {line}")
                    shown = line
                time.sleep(_POLL_S)
    except _Stopped:
        echo("Stopping: replicas finish what they have, and give back the rest.")
    finally:
        deployment.stop()


@contextmanager
def _raising_on_signals() -> Iterator[None]:
    """Raises _Stopped in the block on SIGINT and SIGTERM. A second signal ends the process as usual."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]

    def restore() -> None:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

    def stop(*_signal: object) -> None:
        restore()
        raise _Stopped

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()
