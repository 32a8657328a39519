"""A tower as a function, and what every faster form of one is checked by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch

from sidecar.errors import DeviceLost
from sidecar.model.device_faults import DEVICE_FAULTS, translate_fault

Tower: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""(n, …) on the device, token ids or uint8 pixels → (n, dimensions) float32 of unit length, on the device."""

Inputs: TypeAlias = Literal["texts", "pictures"]


def repeat_rows(example: torch.Tensor, count: int) -> torch.Tensor:
    """A batch of `count` rows, which are those of `example` in turn."""
    return example[torch.arange(count, device=example.device) % len(example)]


def least_cosine(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Of two batches of unit vectors, pair by pair; NaN if one of them holds one."""
    return float((got * expected).sum(dim=-1).min())


def reason_of(error: Exception) -> str:
    """Why a faster form cannot be used, in a line. Raises DeviceLost if the slower one could not be used either."""
    if isinstance(error, DEVICE_FAULTS):
        fault = translate_fault(error)
        if isinstance(fault, DeviceLost):
            raise fault from error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
