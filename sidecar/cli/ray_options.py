"""Options of the commands that use a cluster of Ray, and the import of what they need."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from sidecar.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="The cluster: HOST:6379. Default: RAY_ADDRESS, else the cluster that runs on this machine, else one is"
        " started here; local: always that.",
        show_default=False,
    ),
]
Gpus: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="N",
        min=0,
        help="GPUs for each process. Default: 1, without REQUIRE_CUDA none.",
        show_default=False,
    ),
]
Cpus: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="N",
        min=0,
        help="CPUs that Ray reserves for each process: one, and one for each of DECODE_PROCESSES. Default: 4.",
        show_default=False,
    ),
]


@contextmanager
def needing_ray() -> Iterator[None]:
    """Raises ConfigurationError if an import in the block fails because Ray is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        hint = "HINT: pip install 'sidecar-embeddings[ray]', here and on every node of the cluster."
        raise ConfigurationError([f"Ray is not installed.\n{hint}"]) from error
