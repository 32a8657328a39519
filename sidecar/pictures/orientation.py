"""Which way up a picture is to be shown."""

from __future__ import annotations

import re
import struct

from PIL import ExifTags, Image

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


def turn_upright(picture: Image.Image) -> Image.Image:
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
