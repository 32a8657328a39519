"""The size of a picture, from the beginning of its file."""

from __future__ import annotations

import io
import warnings

from PIL import Image

from sidecar.pictures.decode import DAMAGE, FORMATS


def read_size(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, before any rotation that the file asks for. No pixel is decoded.

    None where the bytes are no readable picture, or where a format (WebP, AVIF, some TIFF) wants all of the file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(head), formats=FORMATS) as picture:
                return picture.size
        except DAMAGE:
            return None
