"""A decoded picture of any mode → upright, opaque, 8-bit pixels, and how their colours become sRGB."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass

from PIL import ExifTags, Image, ImageChops, ImageMath

from sidecar.errors import PictureRejected
from sidecar.pictures.background import choose_background
from sidecar.pictures.icc_profiles import ToSrgb, find_conversion

_TWELVE_BITS = 4095.0
_SPACES = {
    **dict.fromkeys(("1", "L", "LA", "La"), "L"),
    **dict.fromkeys(("RGB", "RGBX", "RGBA", "RGBa", "P", "PA", "YCbCr"), "RGB"),
    "CMYK": "CMYK",
}
"""Of what a profile for the pixels of each mode must be."""

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

_IN_XMP = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\s*["'<]""")


@dataclass(frozen=True, slots=True)
class SampleFormat:
    """What a file says of its samples and Pillow does not pass on.

    `white`: the value of white, where it is not that of the type. `integers`: those in mode F are not fractions.
    `transparent`: the value of 16 bits that is transparent.
    """

    white_is_zero: bool = False
    white: float | None = None
    integers: bool = False
    transparent: int | None = None


DEFAULT_SAMPLE_FORMAT = SampleFormat()


@dataclass(frozen=True, slots=True)
class Pixels:
    """`picture` is upright, opaque and 8 bits deep: sRGB in mode RGB, or, where there is a conversion, of its mode."""

    picture: Image.Image
    to_srgb: ToSrgb | None = None

    def rgb(self) -> Image.Image:
        return self.picture if self.to_srgb is None else self.to_srgb(self.picture)


def to_pixels(
    picture: Image.Image, profile: bytes | None = None, samples: SampleFormat = DEFAULT_SAMPLE_FORMAT
) -> Pixels:
    """Turn upright, scale deep pixels to 8 bits, put what is transparent on a background.

    The pixels must be loaded. Raises PictureRejected for float pixels that are not finite numbers.
    """
    upright = _turn_upright(picture)
    if upright.mode.startswith("I") or upright.mode == "F":
        upright = _to_8_bits(upright, samples)
    conversion = find_conversion(profile, _SPACES.get(upright.mode, ""))
    opaque = _put_on_background(upright) if upright.has_transparency_data else upright
    mode = "RGB" if conversion is None else conversion.mode
    return Pixels(opaque if opaque.mode == mode else opaque.convert(mode), conversion)


def to_rgb(picture: Image.Image) -> Image.Image:
    """`to_pixels` of a picture without a profile."""
    return to_pixels(picture).picture


def _turn_upright(picture: Image.Image) -> Image.Image:
    """Turn and mirror as EXIF says, or, where that says nothing, XMP."""
    # libheif has done so already, by what counts there: `irot` and `imir`.
    if picture.format == "HEIF":
        return picture
    orientation = _read_exif(picture) or _read_xmp(picture)
    transposition = _UPRIGHT.get(orientation)
    return picture if transposition is None else picture.transpose(transposition)


def _read_exif(picture: Image.Image) -> int:
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 0)
    except (SyntaxError, ValueError, LookupError, TypeError, OSError, struct.error):
        # A damaged EXIF block says nothing about the pixels: they are shown as stored, as in a browser.
        return 0
    return orientation if isinstance(orientation, int) else 0


def _read_xmp(picture: Image.Image) -> int:
    xmp = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
    match = _IN_XMP.search(xmp.encode(errors="replace") if isinstance(xmp, str) else xmp)
    return int(match[1]) if match else 0


def _to_8_bits(picture: Image.Image, samples: SampleFormat) -> Image.Image:
    """Scale linearly, so that the darkest possible value is 0 and the brightest 255. Pillow alone would cut off.

    Mode L, or LA where a value is transparent.
    """
    sixteen_bits = picture.mode.startswith("I;16")
    # Not every 16-bit mode converts to F directly, or knows its own extremes.
    deep = picture.convert("I") if sixteen_bits else picture
    black, white = _value_range(deep, sixteen_bits, samples)
    scale = 255.0 / (white - black)
    offset = 0.5 - black * scale  # the conversion to 8 bits rounds down
    grey = deep.convert("F").point(lambda value: value * scale + offset).convert("L")
    if samples.white_is_zero:
        grey = ImageChops.invert(grey)
    if samples.transparent is not None:
        opacity_mask = [255] * 65_536
        opacity_mask[samples.transparent] = 0
        grey.putalpha(deep.point(opacity_mask, "L"))
    return grey


def _value_range(picture: Image.Image, sixteen_bits: bool, samples: SampleFormat) -> tuple[float, float]:
    """What is black and what is white.

    16 bits: 0 and 65535, also where they are stored in 32; but 4095 where nothing is brighter, as cameras of 12 bits
    write them. Floats within 0 … 1: 0 and 1. Other values have no agreed range: the picture's own extremes.
    """
    low, high = _extremes(picture)
    if not (-1e30 < low <= high < 1e30):
        raise PictureRejected(
            "unsupported_format",
            f"The picture's float pixels range from {low} to {high}; send one whose values are finite numbers.",
        )
    if samples.white is not None and low >= 0.0 and high <= samples.white:
        return 0.0, samples.white
    if sixteen_bits:
        return 0.0, _TWELVE_BITS if high <= _TWELVE_BITS else 65535.0
    conventional_white = 1.0 if picture.mode == "F" and not samples.integers else 65535.0
    if (low >= 0.0 and high <= conventional_white) or low == high:
        return 0.0, conventional_white
    return low, high


def _extremes(picture: Image.Image) -> tuple[float, float]:
    if picture.mode == "F":
        # Pillow sees what is not a number only where it comes first; a comparison with it is false.
        picture = ImageMath.lambda_eval(lambda args: args["max"](args["picture"], -math.inf), picture=picture)
    low, high = picture.getextrema()
    return float(low), float(high)  # type: ignore[arg-type]


def _put_on_background(picture: Image.Image) -> Image.Image:
    # Pillow converts premultiplied grey only to LA.
    straight = picture.convert("LA") if picture.mode == "La" else picture
    rgba = straight if straight.mode == "RGBA" else straight.convert("RGBA")
    if rgba.getchannel("A").getextrema() == (255, 255):
        return rgba.convert("RGB")
    canvas = Image.new("RGB", rgba.size, (choose_background(rgba),) * 3)
    canvas.paste(rgba, mask=rgba)
    return canvas
