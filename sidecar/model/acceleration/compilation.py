"""Compiles a tower with torch.compile, which fuses its small steps. Takes a minute or more for the default model."""

from __future__ import annotations

import logging
import time

import torch

from sidecar.config import set_compiler_defaults
from sidecar.model.acceleration.tower import Inputs, Tower, least_cosine, reason_of
from sidecar.model.precision import MIN_COSINE, Precision

logger = logging.getLogger(__name__)

_COMPILERS_ERRORS = (
    *(RuntimeError, AssertionError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError),
    *(ImportError, OSError),
)
"""What torch.compile raises about a model, and the compilers below it about themselves."""


def compile_tower(tower: Tower, example: torch.Tensor, inputs: Inputs, precision: Precision) -> Tower:
    """The tower compiled for batches of any size, or as it is if that fails; the log says why. Raises DeviceLost.

    `example` has at least two rows. One row is compiled apart: the compiler takes a size of 1 for a constant.
    """
    set_compiler_defaults()
    started = time.perf_counter()
    try:
        compiled = _compile(tower, example)
        cosine = min(least_cosine(compiled(batch), tower(batch)) for batch in (example[:1], example))
    except _COMPILERS_ERRORS as error:
        logger.warning("DEVICE_COMPILE=on: %s run uncompiled: %s", inputs, reason_of(error))
        return tower
    if not cosine >= MIN_COSINE[precision]:  # also for NaN
        logger.warning("DEVICE_COMPILE=on: %s run uncompiled: vectors agree only to a cosine of %.5f", inputs, cosine)
        return tower
    logger.info("Compiled the model for %s in %.0f s", inputs, time.perf_counter() - started)
    return compiled


def _compile(tower: Tower, example: torch.Tensor) -> Tower:
    from torch._dynamo import maybe_mark_dynamic  # seconds, and it reads the environment

    compiled = torch.compile(tower)
    compiled(example[:1])
    several = example.clone()
    maybe_mark_dynamic(several, 0)  # else the next size would be compiled while rows wait
    compiled(several)
    return compiled
