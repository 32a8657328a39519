"""Makes a picture small and writes it as a file. Runs in decoder processes."""

from __future__ import annotations

import io

from PIL import Image, features

from sidecar.pictures.decode import decode_pixels

_QUALITY = 82
_OVERSAMPLING = (
    2  # a picture that is reduced while it is decoded keeps at least this many pixels for each that is shown
)


def make_thumbnail(image: bytes, side: int, max_pixels: int) -> tuple[str, bytes]:
    """Media type and content of the picture, upright, in sRGB, with at most `side` pixels along each edge.

    Has nothing of the file but its pixels. Raises as decode_pixels.
    """

    def choose_reduction(width: int, height: int) -> int:
        return max(max(width, height) // (_OVERSAMPLING * side), 1)

    picture = decode_pixels(image, max_pixels, choose_reduction).rgb()
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    picture.info = {}
    file = io.BytesIO()
    if features.check("webp"):
        picture.save(file, "WEBP", quality=_QUALITY)
        return "image/webp", file.getvalue()
    picture.save(file, "JPEG", quality=_QUALITY)
    return "image/jpeg", file.getvalue()
