"""What torch raises while a model computes, in the words of this package."""

from __future__ import annotations

import traceback

import torch

from sidecar.errors import DeviceError, DeviceLost, DeviceOutOfMemory

DEVICE_FAULTS = (RuntimeError, AssertionError, IndexError)
"""To be caught around a model's call and translated by `translate_fault`."""

_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "status_alloc_failed")
# Errors after which every call of this process fails: CUDA keeps them in the context, which only a new process gets rid
# of. cudaGetErrorString's words, and those of the libraries above it.
_LOST = (
    "device-side assert",
    "illegal memory access",
    "illegal instruction",
    "misaligned address",
    "invalid address space",
    "invalid program counter",
    "hardware stack error",
    "unspecified launch failure",
    "the launch timed out",
    "uncorrectable",  # ECC, NVLink
    "context is destroyed",
    "driver shutting down",
    "unknown error",
    "device is busy or unavailable",
    "fallen off the bus",
    "no longer available",
    "gpu is lost",
)
_GPU_WORDS = ("cuda", "hip", "cublas", "cudnn", "nvlink", "gpu", "driver")


def translate_fault(error: Exception) -> DeviceError:
    """DeviceOutOfMemory if a smaller batch may do, DeviceLost if nothing will in this process, else DeviceError.

    With the first line of what torch says.
    """
    message = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, torch.OutOfMemoryError) or any(sign in str(error).lower() for sign in _OUT_OF_MEMORY):
        # The traceback would keep this batch's tensors alive while a smaller one is tried.
        traceback.clear_frames(error.__traceback__)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return DeviceOutOfMemory(message)
    return DeviceLost(message) if is_lost(message) else DeviceError(message)


def is_lost(message: str) -> bool:
    """Whether what torch says is of a fault that a process does not get over."""
    lower = message.lower()
    return any(sign in lower for sign in _LOST) and any(word in lower for word in _GPU_WORDS)
