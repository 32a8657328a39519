"""A decoded picture of any mode → upright, opaque, 8-bit RGB."""

from __future__ import annotations

import struct

from PIL import ExifTags, Image

from sidecar.errors import PictureRejected

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation."""


def to_rgb(picture: Image.Image) -> Image.Image:
    """Turn upright as EXIF says, scale deep pixels to 8 bits, put what is transparent on white. Mode RGB.

    The pixels must be loaded. Raises PictureRejected for float pixels that are not finite numbers.
    """
    upright = _turn_upright(picture)
    if upright.mode.startswith("I") or upright.mode == "F":
        return _to_8_bits(upright).convert("RGB")
    if upright.has_transparency_data:
        return _put_on_white(upright)
    return upright if upright.mode == "RGB" else upright.convert("RGB")


def _turn_upright(picture: Image.Image) -> Image.Image:
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, LookupError, TypeError, OSError, struct.error):
        # A damaged EXIF block says nothing about the pixels: they are shown as stored, as in a browser.
        return picture
    transposition = _UPRIGHT.get(orientation)
    return picture if transposition is None else picture.transpose(transposition)


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """Scale linearly, so that the darkest possible value is 0 and the brightest 255. Pillow alone would cut off."""
    black, white = _value_range(picture)
    scale = 255.0 / (white - black)
    offset = 0.5 - black * scale  # the conversion to 8 bits rounds down
    # Not every 16-bit mode converts to F directly.
    deep = picture if picture.mode in ("I", "F") else picture.convert("I")
    return deep.convert("F").point(lambda value: value * scale + offset).convert("L")


def _value_range(picture: Image.Image) -> tuple[float, float]:
    """What is black and what is white.

    16 bits: 0 and 65535, also where they are stored in 32. Floats within 0 … 1: 0 and 1. Other values have no agreed
    range: the picture's own darkest and brightest.
    """
    if picture.mode.startswith("I;16"):
        return 0.0, 65535.0
    low, high = (float(value) for value in picture.getextrema())  # type: ignore[arg-type]
    if not (-1e30 < low <= high < 1e30):
        raise PictureRejected(
            "unsupported_format",
            f"The picture's float pixels range from {low} to {high}; send one whose values are finite numbers.",
        )
    conventional_white = 1.0 if picture.mode == "F" else 65535.0
    if (low >= 0.0 and high <= conventional_white) or low == high:
        return 0.0, conventional_white
    return low, high


def _put_on_white(picture: Image.Image) -> Image.Image:
    # Pillow converts premultiplied grey only to LA.
    straight = picture.convert("LA") if picture.mode == "La" else picture
    rgba = straight if straight.mode == "RGBA" else straight.convert("RGBA")
    canvas = Image.new("RGB", rgba.size, "white")
    canvas.paste(rgba, mask=rgba)
    return canvas
