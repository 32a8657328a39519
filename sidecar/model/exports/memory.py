"""Returns memory to the system between the steps of an export, each of which takes gigabytes."""

from __future__ import annotations

import ctypes
import gc


def return_freed_memory() -> None:
    """Collects garbage, and has glibc return what is free: it keeps blocks of up to 32 MB, as most weights are."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # other C libraries have no such function
        trim(0)
