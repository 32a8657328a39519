"""What torch raises while a model computes, in the words of this package."""

from __future__ import annotations

import traceback

import torch

from sidecar.errors import DeviceError, DeviceOutOfMemory

DEVICE_FAULTS = (RuntimeError, AssertionError, IndexError)
"""To be caught around a model's call and translated by `translate_fault`."""

_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


def translate_fault(error: Exception) -> DeviceError:
    """DeviceOutOfMemory if a smaller batch may do, else DeviceError, with the first line of what torch says."""
    message = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, torch.OutOfMemoryError) or any(sign in str(error).lower() for sign in _OUT_OF_MEMORY):
        # The traceback would keep this batch's tensors alive while a smaller one is tried.
        traceback.clear_frames(error.__traceback__)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return DeviceOutOfMemory(message)
    return DeviceError(message)
