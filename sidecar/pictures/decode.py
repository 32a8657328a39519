"""Bytes of an image file → RGB pixels, or a PictureRejected that says why not. Runs in decoder processes."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

from PIL import Image, UnidentifiedImageError, features

from sidecar.errors import PictureRejected
from sidecar.pictures.rgb import to_rgb
from sidecar.pictures.signatures import READABLE, name_format

FORMATS = [name for name in READABLE if name != "AVIF" or features.check("avif")]

DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, RuntimeError, struct.error, zlib.error)
"""What Pillow and its codecs raise about bytes that they cannot make sense of."""


def decode_rgb(image: bytes, max_pixels: int) -> Image.Image:
    """The picture upright, opaque, 8 bits deep, mode RGB; of an animation the first frame.

    Raises PictureRejected, and MemoryError where the pixels do not fit. At most `max_pixels` are decoded.
    """
    with warnings.catch_warnings():
        # Pillow warns about damage that it can live with, and about sizes that are checked here.
        warnings.simplefilter("ignore")
        try:
            picture = _open(image)
            _check_pixels(picture.size, max_pixels)
            picture.load()
            return to_rgb(picture)
        except PictureRejected:
            raise
        except DAMAGE as error:
            if "out of memory" in str(error).lower():
                raise MemoryError(str(error)) from error
            raise _damaged(image, str(error)) from error


def _open(image: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(image), formats=FORMATS)
    except UnidentifiedImageError as error:
        name = name_format(image)
        if name is None:
            raise PictureRejected("not_a_picture", f"{_describe(image)}; send {_readable()}.") from error
        if name not in FORMATS:
            raise PictureRejected(
                "unsupported_format", f"{name} pictures are not read; convert it to {_readable()}."
            ) from error
        raise _damaged(image, "its header cannot be read") from error


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise PictureRejected(
            "too_many_pixels",
            f"The picture has {width} x {height} = {width * height:,} pixels; "
            f"at most {max_pixels:,} are read (MAX_IMAGE_PIXELS). Scale it down.",
        )


def _damaged(image: bytes, detail: str) -> PictureRejected:
    name = name_format(image) or "image"
    return PictureRejected(
        "truncated_picture",
        f"The {name} file of {len(image):,} bytes is cut off or damaged ({detail}); send it whole, or save it anew.",
    )


def _describe(image: bytes) -> str:
    if not image:
        return "The picture is empty (0 bytes)"
    return f"The {len(image):,} bytes are not a picture (they begin with {image[:12]!r})"


def _readable() -> str:
    return f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
