"""The size of a picture, from the beginning of its file."""

from __future__ import annotations

import warnings

from sidecar.errors import PictureRejected
from sidecar.pictures.decode import DAMAGE, FORMATS
from sidecar.pictures.formats.opening import open_picture
from sidecar.pictures.formats.signatures import name_format


def read_size(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, before any rotation that the file asks for. No pixel is decoded.

    None where the bytes are no readable picture, or where a format (WebP, AVIF, some TIFF) wants all of the file.
    """
    name = name_format(head)
    if name not in FORMATS:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return open_picture(head, name).picture.size
        except (PictureRejected, *DAMAGE):
            return None
