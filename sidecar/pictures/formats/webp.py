"""Repairs WebP files truncated within their metadata, for which libwebp rejects even complete pixels."""

from __future__ import annotations

import struct

_METADATA = (b"EXIF", b"XMP ")
_PIXELS = (b"VP8 ", b"VP8L", b"ANMF")


def strip_truncated_metadata(image: bytes) -> bytes:
    """The file without its incomplete metadata. Unchanged if nothing is missing, or if pixels are."""
    position, pixels = 12, False
    while position + 8 <= len(image):
        kind, length = image[position : position + 4], struct.unpack_from("<I", image, position + 4)[0]
        end = position + 8 + length + length % 2
        if end > len(image) and kind in _METADATA and pixels:
            return image[:4] + struct.pack("<I", position - 8) + image[8:position]
        pixels = pixels or kind in _PIXELS
        position = end
    return image


def is_truncated(image: bytes) -> bool:
    """True if the file is shorter than its header states."""
    return len(image) < 12 or 8 + struct.unpack_from("<I", image, 4)[0] > len(image)
