from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from sidecar.errors import PictureRejected
from sidecar.pictures.decode import decode_rgb
from tests.unit.pictures.pictures import FORMATS, encode, make_picture, pixels, worst_difference

MAX_PIXELS = 1_000_000


def reject(image: bytes, max_pixels: int = MAX_PIXELS) -> PictureRejected:
    with pytest.raises(PictureRejected) as caught:
        decode_rgb(image, max_pixels)
    return caught.value


@pytest.mark.parametrize("picture_format", FORMATS)
def test_every_listed_format_is_read(picture_format: str) -> None:
    picture = make_picture()

    decoded = decode_rgb(encode(picture, picture_format), MAX_PIXELS)

    assert (decoded.mode, decoded.size) == ("RGB", picture.size)
    assert np.abs(pixels(decoded) - pixels(picture)).mean() < 15


@pytest.mark.parametrize("picture_format", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_are_read_exactly(picture_format: str) -> None:
    assert worst_difference(decode_rgb(encode(make_picture(), picture_format), MAX_PIXELS), make_picture()) == 0


@pytest.mark.parametrize("picture_format", FORMATS)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9])
def test_a_truncated_picture_is_rejected(picture_format: str, part: float) -> None:
    image = encode(make_picture(), picture_format)

    error = reject(image[: max(int(len(image) * part), 20)])

    assert error.code == "truncated_picture"
    assert "is cut off, its end is missing" in error.message


@pytest.mark.parametrize("image", [b"", b"hello, world", b"\0" * 1000, b"GI"])
def test_other_bytes_are_not_a_picture(image: bytes) -> None:
    error = reject(image)

    assert error.code == "not_a_picture"
    assert "send JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC" in error.message


def test_the_message_quotes_the_first_bytes() -> None:
    assert "The single byte b'h' is not a picture" in reject(b"h").message
    assert "The 12 bytes are not a picture (they begin with b'hello, world')" in reject(b"hello, world").message
    assert "empty (0 bytes)" in reject(b"").message


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (encode(make_picture(), "JPEG2000"), "JPEG 2000"),
        (encode(make_picture(), "JPEG2000", no_jp2=True), "JPEG 2000"),
        (encode(make_picture(), "ICO"), "ICO"),
        (encode(make_picture(), "PDF"), "PDF"),
        (encode(make_picture(), "EPS"), "PostScript"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100), "JPEG XL"),
        (b"8BPS\0\1" + bytes(100), "Photoshop"),
        (b"\xc5\xd0\xd3\xc6 \0\0\0" + bytes(30), "PostScript"),
        (b"\xd7\xcd\xc6\x9a" + bytes(30), "WMF"),
        (b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(30), "EMF"),
        (b"gimp xcf v011\0" + bytes(30), "GIMP (XCF)"),
        (encode(make_picture(), "PPM"), "Netpbm (PBM, PGM, PPM, PAM)"),
        (b"P1\n# a comment\n2 2\n1 0\n0 1\n", "Netpbm (PBM, PGM, PPM, PAM)"),
        (b"P7\nWIDTH 1\n" + bytes(30), "Netpbm (PBM, PGM, PPM, PAM)"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unsupported_format_is_named_and_not_decoded(image: bytes, name: str) -> None:
    error = reject(image)

    assert error.code == "unsupported_format"
    assert error.message.startswith(f"{name} pictures are not read; convert it to JPEG")


def test_other_formats_of_pillow_are_not_decoded() -> None:
    for picture_format in ("PPM", "TGA", "PCX", "SGI", "DDS"):
        assert reject(encode(make_picture(), picture_format)).code in ("not_a_picture", "unsupported_format")


def test_too_many_pixels_are_rejected_before_they_are_decoded() -> None:
    image = encode(Image.new("1", (3000, 2000)), "PNG")

    # Truncated behind the header, which only decoding reveals.
    error = reject(image[:60], max_pixels=5_999_999)

    assert error.code == "too_many_pixels"
    assert "3000 x 2000 = 6,000,000 pixels; at most 5,999,999 are read (MAX_IMAGE_PIXELS)" in error.message
    assert decode_rgb(image, 6_000_000).size == (3000, 2000)


def test_warnings_of_pillow_are_suppressed() -> None:
    damaged_exif = encode(make_picture(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decode_rgb(damaged_exif, MAX_PIXELS)
        reject(encode(Image.new("1", (9900, 9900)), "PNG"))  # over Pillow's own limit

    assert not caught
