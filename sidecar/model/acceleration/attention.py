"""Chooses the implementation of attention: which one is the fastest depends on the GPU and on the size of the heads.

So400m's heads of 72 numbers fit none of them exactly. Each is timed at start, on the whole tower.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from sidecar.model.acceleration.tower import Inputs, Tower, least_cosine, reason_of
from sidecar.model.device_faults import DEVICE_FAULTS
from sidecar.model.precision import MIN_COSINE, Precision

logger = logging.getLogger(__name__)

BACKENDS: Mapping[str, SDPBackend] = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
_ROUNDS = 5
_LEAST_GAIN = 0.03  # less is noise, for which no start should differ from another


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds that a tower takes with a back end, and the least cosine to the vectors of PyTorch's plain attention."""

    seconds: float
    cosine: float


def with_fastest_attention(tower: Tower, example: torch.Tensor, inputs: Inputs, precision: Precision) -> Tower:
    """The tower with the back end that is the fastest for `example`, among those that are exact enough.

    Raises DeviceLost.
    """
    try:
        timings = time_backends(tower, example)
    except DEVICE_FAULTS as error:
        logger.warning("DEVICE_ATTENTION=auto: %s keep PyTorch's choice: %s", inputs, reason_of(error))
        return tower
    chosen = choose_backend(timings, precision)
    listed = ", ".join(f"{name} {timing.seconds * 1000:.2f} ms" for name, timing in timings.items())
    logger.info("Attention for %s: %s (for %d: %s)", inputs, chosen or "PyTorch's choice", len(example), listed)
    return tower if chosen is None else with_backend(tower, BACKENDS[chosen])


def choose_backend(timings: Mapping[str, Timing], precision: Precision) -> str | None:
    """The fastest of `BACKENDS` that is exact enough; None for PyTorch's own choice, unless one is clearly faster."""
    exact = {
        name: timing.seconds
        for name, timing in timings.items()
        if name in BACKENDS and timing.cosine >= MIN_COSINE[precision]
    }
    fastest = min(exact, key=exact.__getitem__, default=None)
    if fastest is None or exact[fastest] > (1 - _LEAST_GAIN) * timings["default"].seconds:
        return None
    return fastest


def time_backends(tower: Tower, example: torch.Tensor) -> dict[str, Timing]:
    """Timings of PyTorch's own choice, as `default`, and of every back end that can run the tower, interleaved.

    Raises DeviceLost.
    """
    with sdpa_kernel(SDPBackend.MATH):
        expected = tower(example)
    candidates = {"default": tower, **{name: with_backend(tower, backend) for name, backend in BACKENDS.items()}}
    cosines: dict[str, float] = {}
    for name, candidate in candidates.items():
        try:
            alone, together = candidate(example[:1]), candidate(example)
            cosines[name] = min(least_cosine(alone, expected[:1]), least_cosine(together, expected))
        except DEVICE_FAULTS as error:
            logger.debug("Attention by %s cannot be used: %s", name, reason_of(error))
    rounds = [{name: _time(candidates[name], example) for name in cosines} for _ in range(_ROUNDS)]
    return {name: Timing(median(each[name] for each in rounds), cosine) for name, cosine in cosines.items()}


def with_backend(tower: Tower, backend: SDPBackend) -> Tower:
    """The tower with this back end and no other: it fails where the back end does not support the shapes."""

    def run(batch: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(backend):
            return tower(batch)

    return run


def _time(tower: Tower, example: torch.Tensor) -> float:
    started = time.perf_counter()
    tower(example).cpu()  # waits for the device
    return time.perf_counter() - started
