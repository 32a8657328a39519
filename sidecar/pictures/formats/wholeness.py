"""Whether the end of a file is missing: to say of one that cannot be decoded what is wrong with it."""

from __future__ import annotations

import struct
from collections.abc import Callable

from sidecar.pictures.formats import jpeg, png, tiff, webp


def is_cut_off(image: bytes, name: str) -> bool:
    """Of a file of a format of READABLE, by what the format says of its length or its end."""
    return _CHECKS[name](image)


def _lacks_trailer(image: bytes) -> bool:
    return not image.rstrip(b"\0").endswith(b";")


def _is_shorter_than_bmp(image: bytes) -> bool:
    return len(image) < 26 or struct.unpack_from("<I", image, 2)[0] > len(image)


def _lacks_boxes(image: bytes) -> bool:
    """Whether one of the boxes of ISO 14496-12 reaches beyond the end."""
    position = 0
    while position + 8 <= len(image):
        length = int.from_bytes(image[position : position + 4], "big")
        if length == 1:
            length = int.from_bytes(image[position + 8 : position + 16], "big")
        if length < 8:  # 0: up to the end
            return False
        position += length
    return position != len(image)


_CHECKS: dict[str, Callable[[bytes], bool]] = {
    "JPEG": jpeg.is_cut_off,
    "PNG": png.is_cut_off,
    "WebP": webp.is_cut_off,
    "GIF": _lacks_trailer,
    "BMP": _is_shorter_than_bmp,
    "TIFF": tiff.is_cut_off,
    "AVIF": _lacks_boxes,
    "HEIC": _lacks_boxes,
}
