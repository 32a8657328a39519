"""Orientation by EXIF, or by XMP if EXIF has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from sidecar.pictures.decode import decode_rgb
from tests.unit.pictures.pictures import encode, make_picture, pixels, worst_difference

MAX_PIXELS = 1_000_000
PICTURE = make_picture(60, 40)
TURNED = PICTURE.transpose(Image.Transpose.ROTATE_270)  # the effect of orientation 6

ATTRIBUTE = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
ELEMENT = b"<x:xmpmeta><rdf:Description><tiff:Orientation>6</tiff:Orientation></rdf:Description></x:xmpmeta>"
SINGLE_QUOTES = ATTRIBUTE.replace(b'="6"', b" = '6'")


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[ExifTags.Base.Orientation] = orientation
    return block.tobytes()


def in_png(xmp: bytes, **options: Any) -> bytes:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return encode(PICTURE, "PNG", pnginfo=info, **options)


@pytest.mark.parametrize("xmp", [ATTRIBUTE, ELEMENT, SINGLE_QUOTES], ids=["attribute", "element", "single quotes"])
def test_xmp_turns_a_png(xmp: bytes) -> None:
    assert worst_difference(decode_rgb(in_png(xmp), MAX_PIXELS), TURNED) == 0


@pytest.mark.parametrize("picture_format", ["JPEG", "WEBP", "TIFF"])
def test_xmp_turns_other_formats(picture_format: str) -> None:
    options: dict[str, Any] = {"tiffinfo": {700: ATTRIBUTE}} if picture_format == "TIFF" else {"xmp": ATTRIBUTE}

    decoded = decode_rgb(encode(PICTURE, picture_format, **options), MAX_PIXELS)

    assert decoded.size == TURNED.size
    assert np.abs(pixels(decoded) - pixels(TURNED)).mean() < 20


def test_exif_takes_precedence_over_xmp() -> None:
    assert worst_difference(decode_rgb(in_png(ATTRIBUTE, exif=exif(1)), MAX_PIXELS), PICTURE) == 0
    half = PICTURE.transpose(Image.Transpose.ROTATE_180)
    assert worst_difference(decode_rgb(in_png(ATTRIBUTE, exif=exif(3)), MAX_PIXELS), half) == 0


def test_xmp_is_used_if_exif_is_damaged() -> None:
    assert worst_difference(decode_rgb(in_png(ATTRIBUTE, exif=b"Exif\0\0XX\0\0nonsense"), MAX_PIXELS), TURNED) == 0


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "block", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"], ids=range(3)
)
def test_a_damaged_exif_block_turns_nothing(picture_format: str, block: bytes) -> None:
    assert decode_rgb(encode(PICTURE, picture_format, exif=block), MAX_PIXELS).size == PICTURE.size
