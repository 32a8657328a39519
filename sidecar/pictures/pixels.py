"""Normalises decoded pictures of any mode to upright, opaque, 8-bit pixels with a conversion to sRGB."""

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
"""The colour space that an ICC profile must have, by Pillow mode."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that undoes each EXIF orientation."""

_SIDEWAYS = {5, 6, 7, 8}
_RIGHT_TO_LEFT, _BOTTOM_TO_TOP = {2, 3, 6, 7}, {3, 4, 7, 8}
"""Where the transposition turns the end of the stored lines or columns to the left or the top."""

_IN_XMP = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\s*["'<]""")


@dataclass(frozen=True, slots=True)
class SampleFormat:
    """How a file's samples are to be interpreted, as far as Pillow does not report it.

    `white`: the value of white, if it is not the type's maximum. `integers`: samples in mode F are integers, not
    fractions. `transparent`: the 16-bit value that is transparent.
    """

    white_is_zero: bool = False
    white: float | None = None
    integers: bool = False
    transparent: int | None = None


DEFAULT_SAMPLE_FORMAT = SampleFormat()


@dataclass(frozen=True, slots=True)
class Reduced:
    """A picture of `size` pixels, upright, as it lies in a copy of itself that is `factor` times as small.

    Copies have whole pixels: one of 9 pixels, reduced by 2, has 5. What exceeds 4.5 is at the right or the bottom, and
    after turning it upright perhaps at the left or the top: `left` and `top` are those parts of a pixel.
    """

    size: tuple[int, int]
    factor: int = 1
    left: float = 0.0
    top: float = 0.0

    def again(self, factor: int) -> Reduced:
        """As it lies in a copy of that copy, `factor` times as small."""
        return Reduced(self.size, self.factor * factor, self.left / factor, self.top / factor)


@dataclass(frozen=True, slots=True)
class Pixels:
    """`picture` is upright, opaque and 8 bits deep: in the mode of `to_srgb` if there is a conversion, else sRGB."""

    picture: Image.Image
    to_srgb: ToSrgb | None = None
    reduced: Reduced | None = None

    @property
    def geometry(self) -> Reduced:
        """The size of the picture in its file, and how it lies in `picture`."""
        return self.reduced or Reduced(self.picture.size)

    def rgb(self) -> Image.Image:
        return self.picture if self.to_srgb is None else self.to_srgb(self.picture)

    def reduce(self, factor: int) -> Pixels:
        """Each `factor` x `factor` pixels averaged to one."""
        return Pixels(self.picture.reduce(factor), self.to_srgb, self.geometry.again(factor))


def to_pixels(
    picture: Image.Image,
    profile: bytes | None = None,
    samples: SampleFormat = DEFAULT_SAMPLE_FORMAT,
    stored: Reduced | None = None,
) -> Pixels:
    """Turns a loaded picture upright, scales its samples to 8 bits, and composites transparent pixels on a background.

    `stored`: how the picture in the file lies in `picture`, before it is turned, if `picture` is a reduced copy. Raises
    PictureRejected if float samples are not finite.
    """
    orientation = _read_orientation(picture)
    transposition = _UPRIGHT.get(orientation)
    upright = picture if transposition is None else picture.transpose(transposition)
    reduced = None if stored is None else _turn_geometry(stored, upright.size, orientation)
    if upright.mode.startswith("I") or upright.mode == "F":
        upright = _to_8_bits(upright, samples)
    conversion = find_conversion(profile, _SPACES.get(upright.mode, ""))
    opaque = _put_on_background(upright) if upright.has_transparency_data else upright
    mode = "RGB" if conversion is None else conversion.mode
    return Pixels(opaque if opaque.mode == mode else opaque.convert(mode), conversion, reduced)


def to_rgb(picture: Image.Image) -> Image.Image:
    """As `to_pixels`, for a picture without a profile."""
    return to_pixels(picture).picture


def _read_orientation(picture: Image.Image) -> int:
    """The orientation in EXIF, or else the one in XMP; 0 if there is none."""
    # libheif has already applied `irot` and `imir`, which take precedence in HEIF.
    if picture.format == "HEIF":
        return 0
    return _read_exif(picture) or _read_xmp(picture)


def _turn_geometry(stored: Reduced, upright: tuple[int, int], orientation: int) -> Reduced:
    """How a reduced copy with `upright` pixels shows the picture, after both were turned."""
    width, height = stored.size
    size = (height, width) if orientation in _SIDEWAYS else stored.size
    left, top = (pixels - length / stored.factor for pixels, length in zip(upright, size, strict=True))
    return Reduced(
        size,
        stored.factor,
        left if orientation in _RIGHT_TO_LEFT else 0.0,
        top if orientation in _BOTTOM_TO_TOP else 0.0,
    )


def _read_exif(picture: Image.Image) -> int:
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 0)
    except (SyntaxError, ValueError, LookupError, TypeError, OSError, struct.error):
        # A damaged EXIF block is ignored, as browsers do.
        return 0
    return orientation if isinstance(orientation, int) else 0


def _read_xmp(picture: Image.Image) -> int:
    xmp = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
    match = _IN_XMP.search(xmp.encode(errors="replace") if isinstance(xmp, str) else xmp)
    return int(match[1]) if match else 0


def _to_8_bits(picture: Image.Image, samples: SampleFormat) -> Image.Image:
    """Scales samples linearly, so that black is 0 and white 255; Pillow would clip them instead.

    Returns mode L, or LA if a value is transparent.
    """
    sixteen_bits = picture.mode.startswith("I;16")
    # Not every 16-bit mode converts to F directly or supports getextrema.
    deep = picture.convert("I") if sixteen_bits else picture
    black, white = _value_range(deep, sixteen_bits, samples)
    scale = 255.0 / (white - black)
    offset = 0.5 - black * scale  # the conversion to 8 bits truncates
    grey = deep.convert("F").point(lambda value: value * scale + offset).convert("L")
    if samples.white_is_zero:
        grey = ImageChops.invert(grey)
    if samples.transparent is not None:
        opacity_mask = [255] * 65_536
        opacity_mask[samples.transparent] = 0
        grey.putalpha(deep.point(opacity_mask, "L"))
    return grey


def _value_range(picture: Image.Image, sixteen_bits: bool, samples: SampleFormat) -> tuple[float, float]:
    """The values of black and white.

    16 bits: 0 and 65535, also if stored in 32 bits; but 4095 if no sample exceeds it, as 12-bit cameras write them.
    Floats within 0 … 1: 0 and 1. Other values have no agreed range, so the picture's own extremes are used.
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
        # getextrema finds a NaN only in first place. `max` with -inf turns every NaN into -inf.
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
