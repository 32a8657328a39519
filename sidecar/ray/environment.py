"""The settings on their way to another machine: environment variables, whose values are never shown."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.config import (
    Settings,
    adopt_variables,
    load_settings,
    misspelt_variables,
    serve_bypasses_proxies,
    variables_for_replicas,
)
from sidecar.errors import ConfigurationError
from sidecar.ray.options import RayOptions
from sidecar.settings import choose_decode_processes
from sidecar.telemetry.logs.configuration import configure_logging

logger = logging.getLogger(__name__)

_NO_KEYS = (
    "RAY_SERVE_ENABLE_HA_PROXY or RAY_SERVE_ENABLE_DIRECT_INGRESS is set: behind it a replica cannot tell whether a "
    "request comes from this machine.\nHINT: Set API_KEYS or API_KEYS_FILE; ALLOW_ANONYMOUS=1 serves everyone."
)


@dataclass(frozen=True, slots=True)
class Environment:
    """Variables of the process that deploys. Where a node has others set, they stay beside these.

    Ray's dashboard shows the environment of an actor, so they travel as an argument instead.
    """

    variables: Mapping[str, str] = field(repr=False)

    @classmethod
    def of_this_process(cls) -> Environment:
        """Raises ConfigurationError, as the replicas would."""
        variables = variables_for_replicas()
        device = variables.pop("CUDA_DEVICE", None)
        if device not in {None, "", "all"}:
            logger.warning("CUDA_DEVICE=%s is not passed on: Ray gives each process its own GPU.", device)
        elif device:
            variables["CUDA_DEVICE"] = device
        return cls(variables)

    def adopt(self, options: RayOptions) -> Settings:
        """Makes the variables those of this process, and returns the settings. Configures logging.

        Raises ConfigurationError.
        """
        adopt_variables(self.variables)
        settings = load_settings()
        if "decode_processes" not in settings.model_fields_set and (cpus := int(options.cpus(settings))):
            decoders = choose_decode_processes(cpus, has_gpu=options.gpus(settings) > 0)
            settings = settings.model_copy(update={"decode_processes": decoders})
        if serve_bypasses_proxies() and not (settings.api_keys or settings.api_keys_file or settings.allow_anonymous):
            raise ConfigurationError([_NO_KEYS])
        configure_logging(settings)
        for sentence in misspelt_variables():
            logger.warning("%s", sentence)
        return settings
