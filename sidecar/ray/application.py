"""`sidecar.ray:app`: the application that Ray Serve deploys."""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.serve.schema import LoggingConfig

from sidecar.app import LoadEncoder, load_embedding_model
from sidecar.config import Settings, load_settings
from sidecar.ray.environment import Environment
from sidecar.ray.options import RayOptions, read_options
from sidecar.ray.replica import Replica

NAME = "sidecar"
_TRIES = 2  # to start a replica, before the deployment fails
_LOOK_BACK_S = 20.0  # replicas report every fifth of it
# Of replicas: by default Serve would learn what they report every ten seconds only.
_SERVE_VARIABLES = {"RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "4"}


def app(args: dict[str, Any]) -> serve.Application:
    """The application. `args` are the fields of RayOptions; the settings are those of the environment.

    Raises ConfigurationError.
    """
    return build(load_settings(), read_options(args))


def build(
    settings: Settings, options: RayOptions, load_encoder: LoadEncoder = load_embedding_model
) -> serve.Application:
    """The application, of the environment whose settings are `settings`."""
    deployment = serve.deployment(
        serve.ingress()(Replica),
        name=NAME,
        ray_actor_options={
            "num_gpus": options.gpus(settings),
            "num_cpus": options.cpus(settings),
            "runtime_env": {"env_vars": _SERVE_VARIABLES},
        },
        max_ongoing_requests=max(settings.query_queue_views, round(2 * options.target_ongoing_requests)),
        autoscaling_config=AutoscalingConfig(
            min_replicas=options.min_replicas,
            max_replicas=options.max_replicas,
            target_ongoing_requests=options.target_ongoing_requests,
            look_back_period_s=_LOOK_BACK_S,
            upscale_delay_s=options.upscale_delay_s,
            downscale_delay_s=options.downscale_delay_s,
            policy=AutoscalingPolicy(policy_function="sidecar.ray.autoscaling:choose_replicas"),
        ),
        logging_config=LoggingConfig(enable_access_log=False),  # the replica writes ours
        max_constructor_retry_count=_TRIES,
        health_check_period_s=options.health_check_period_s,
        graceful_shutdown_wait_loop_s=min(0.5, settings.shutdown_timeout_s / 4),
        graceful_shutdown_timeout_s=2 * settings.shutdown_timeout_s,  # requests in flight, then what is behind them
    )
    return deployment.bind(Environment.of_this_process(), options.of_replica(), load_encoder)
