"""What Ray is asked for: how many replicas, with which resources, and when there should be more or fewer."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sidecar.config import Settings
from sidecar.errors import ConfigurationError

_CPUS_BESIDE_DECODERS = 1


class RayOptions(BaseModel):
    """The arguments of `sidecar.ray:app`; the options of `sidecar ray` have the same names.

    There is at least one replica: only a running replica answers queries, and sees that there is work.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_replicas: int = Field(default=1, ge=1, le=1000)
    max_replicas: int = Field(default=4, ge=1, le=1000)
    gpus_per_replica: float | None = Field(default=None, ge=0, le=64)
    """None: one, without REQUIRE_CUDA none."""
    cpus_per_replica: float | None = Field(default=None, ge=0, le=1024)
    """None: one, and one for each of DECODE_PROCESSES if that is set, else four. Ray only reserves them."""
    target_backlog_s: float = Field(default=600.0, gt=0)
    """Time in which the rows of a backfill should be embedded."""
    target_lag_s: float = Field(default=30.0, gt=0)
    """Time in which the rows that have changed should be embedded."""
    target_ongoing_requests: float = Field(default=64.0, gt=0)
    """Requests in progress for each replica."""
    upscale_delay_s: float = Field(default=10.0, ge=0)
    downscale_delay_s: float = Field(default=300.0, ge=0)
    health_check_period_s: float = Field(default=5.0, gt=0)

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas ({self.max_replicas}) is less than min_replicas ({self.min_replicas})")
        return self

    def of_replica(self) -> Self:
        """These options as far as a replica needs them: Serve restarts replicas whose arguments change."""
        keep = {"cpus_per_replica", "gpus_per_replica", "target_backlog_s", "target_lag_s"}
        return type(self)(**self.model_dump(include=keep))

    def gpus(self, settings: Settings) -> float:
        """GPUs that Ray reserves for one process."""
        if self.gpus_per_replica is None:
            return 1.0 if settings.require_cuda else 0.0
        return self.gpus_per_replica

    def cpus(self, settings: Settings) -> float:
        """CPUs that Ray reserves for one process."""
        if self.cpus_per_replica is not None:
            return self.cpus_per_replica
        decoders = settings.decode_processes if "decode_processes" in settings.model_fields_set else 3
        return float(decoders + _CPUS_BESIDE_DECODERS)


def read_options(values: dict[str, object]) -> RayOptions:
    """Options from arguments of any type that can be read as theirs. Raises ConfigurationError."""
    try:
        return RayOptions.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError([_describe(each) for each in error.errors(include_url=False)]) from error


def _describe(problem: object) -> str:
    assert isinstance(problem, dict)
    name = ".".join(map(str, problem["loc"]))
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name}={problem['input']!r}: {message}" if name else message
