"""Memory that this process and a decoder process both reach: a file without a name.

Read and written, not mapped: when memory is short a write fails, while a store into a mapping ends the process with
SIGBUS. A memfd where there is one, because containers often leave /dev/shm only 64 MB. Copies go in steps, so that the
event loop never stands still for a large picture.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

_STEP_BYTES = 1 << 20


def open_shared_file() -> BinaryIO:
    """The memory is gone when all processes have closed the file. Raises OSError."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("sidecar-picture"), "r+b", buffering=0)
    else:  # noqa: RET505 (mypy understands platforms only this way)
        return tempfile.TemporaryFile(buffering=0)


async def write_shared(file: BinaryIO, content: bytes) -> None:
    """Put `content` at the start of the file. Raises OSError when memory is short."""
    view = memoryview(content)
    offset = 0
    while offset < len(view):
        offset += os.pwrite(file.fileno(), view[offset : offset + _STEP_BYTES], offset)
        await asyncio.sleep(0)


async def read_shared(file: BinaryIO, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A copy of the start of the file, as an array of `shape`, uint8. Raises EOFError if the file is shorter."""
    array = np.empty(shape, dtype=np.uint8)
    view = array.reshape(-1).data
    offset = 0
    while offset < len(view):
        count = os.preadv(file.fileno(), [view[offset : offset + _STEP_BYTES]], offset)
        if count == 0:
            raise EOFError(f"{len(view)} bytes were expected, {offset} are there")
        offset += count
        await asyncio.sleep(0)
    return array
