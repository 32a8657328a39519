"""A decoded picture on its way to the device, and one that was made small for people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """`views` is (n, view_size, view_size, 3) uint8 RGB; `weights` is (n,) float32 and sums to one."""

    views: NDArray[np.uint8]
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture as a file: `image/webp`, or `image/jpeg` where Pillow writes no WebP."""

    media_type: str
    content: bytes
