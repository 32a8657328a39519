"""Pictures for tests of decoding."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


def make_picture(width: int = 320, height: int = 240, seed: int = 0) -> Image.Image:
    """Smooth colours and fine noise, RGB, which show any shift, rotation or different resizing."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    noise = rng.integers(-30, 31, (height, width, 3))
    return Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))


def encode(picture: Image.Image, picture_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, picture_format, **options)
    return file.getvalue()


def pixels(picture: Image.Image) -> NDArray[np.int16]:
    """(height, width, channels) or (height, width), signed, so that differences can be taken."""
    return np.asarray(picture).astype(np.int16)


def worst_difference(left: Image.Image, right: Image.Image) -> int:
    assert left.size == right.size
    return int(np.abs(pixels(left) - pixels(right)).max())
