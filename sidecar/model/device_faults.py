"""Translates what torch, onnxruntime and OpenVINO raise while a model computes to DeviceError."""

from __future__ import annotations

import traceback

import torch

from sidecar.errors import DeviceError, DeviceLost, DeviceOutOfMemory

DEVICE_FAULTS = (RuntimeError, AssertionError, IndexError)
"""Errors of torch to catch around a model's call and translate by `translate_fault`."""

_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "status_alloc_failed",
    "failed to allocate",  # onnxruntime's arena
)
# Errors after which every call of this process fails: they persist in the CUDA context, which only a new process
# replaces. These are messages of cudaGetErrorString and of the libraries above it.
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
    """DeviceOutOfMemory if a smaller batch may succeed, DeviceLost if no call of this process will, else DeviceError.

    The message is the first line of torch's.
    """
    message = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, torch.OutOfMemoryError) or any(sign in str(error).lower() for sign in _OUT_OF_MEMORY):
        # The traceback would keep the tensors of this batch alive while a smaller batch is tried.
        traceback.clear_frames(error.__traceback__)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return DeviceOutOfMemory(message)
    return DeviceLost(message) if is_lost(message) else DeviceError(message)


def is_lost(message: str) -> bool:
    """True if a message of torch is about a fault that a process cannot recover from."""
    lower = message.lower()
    return any(sign in lower for sign in _LOST) and any(word in lower for word in _GPU_WORDS)
