"""Kinds of files that real programs write, as far as no other test covers them."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from sidecar.errors import PictureRejected
from sidecar.pictures.decode import decode_rgb
from tests.unit.pictures.files import png_chunks, png_of_samples, write_png
from tests.unit.pictures.pictures import encode, make_picture, pixels, worst_difference

MAX_PIXELS = 1_000_000
PICTURE = make_picture(64, 48)

# 16 pixels square, the left half (200, 40, 40), the right half (40, 40, 200).
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYV"
    "pQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//yQARCAAQ"
    "ABADAREAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/ADkx833EkgI1MwumsW4h/9k="
)


def test_a_progressive_jpeg_is_read() -> None:
    decoded = decode_rgb(encode(PICTURE, "JPEG", progressive=True), MAX_PIXELS)

    assert worst_difference(decoded, decode_rgb(encode(PICTURE, "JPEG"), MAX_PIXELS)) == 0


def test_cmyk_as_adobe_writes_it_is_not_inverted() -> None:
    ink = Image.new("CMYK", (16, 16), (0, 200, 200, 0))

    decoded = decode_rgb(encode(ink, "JPEG", quality=95), MAX_PIXELS)

    assert np.abs(pixels(decoded)[8, 8] - (255, 55, 55)).max() <= 4


def test_ycck_is_read() -> None:
    cmyk = (0, 200, 200, 20)
    luma = Image.new("RGB", (1, 1), cmyk[:3]).convert("YCbCr").getpixel((0, 0))
    assert isinstance(luma, tuple)
    stored = Image.new("CMYK", (16, 16), (*(255 - level for level in luma), cmyk[3]))
    image = bytearray(encode(stored, "JPEG", quality=100))
    image[image.index(b"Adobe") + 11] = 2  # the transformation

    decoded = decode_rgb(bytes(image), MAX_PIXELS)

    assert np.abs(pixels(decoded)[8, 8] - pixels(Image.new("CMYK", (1, 1), cmyk).convert("RGB"))[0, 0]).max() <= 6


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_transparent_grey_of_any_width_is_transparent(bits: int) -> None:
    brightest = (1 << bits) - 1
    samples = np.array([[0, brightest]], dtype=np.uint16)

    without_black = decode_rgb(png_of_samples(samples, bits, (b"tRNS", struct.pack(">H", 0))), MAX_PIXELS)
    without_white = decode_rgb(png_of_samples(samples, bits, (b"tRNS", struct.pack(">H", brightest))), MAX_PIXELS)

    assert pixels(without_black)[0, :, 0].tolist() == [0, 255]  # white on black
    assert pixels(without_white)[0, :, 0].tolist() == [0, 255]  # black on white


def test_only_the_exact_colour_of_16_bits_is_transparent() -> None:
    samples = np.array([[[0, 100, 200], [0, 101, 200], [65_535, 65_535, 65_535]]], dtype=np.uint16)
    transparent = (b"tRNS", struct.pack(">3H", 0, 100, 200))

    decoded = decode_rgb(png_of_samples(samples, 16, transparent), MAX_PIXELS)

    assert pixels(decoded)[0, :, 0].tolist() == [255, 0, 255]


def test_only_the_exact_grey_of_16_bits_is_transparent() -> None:
    samples = np.array([[100, 101, 20_000]], dtype=np.uint16)

    decoded = decode_rgb(png_of_samples(samples, 16, (b"tRNS", struct.pack(">H", 100))), MAX_PIXELS)

    assert pixels(decoded)[0, :, 0].tolist() == [255, 0, 78]


def test_grey_with_alpha_of_16_bits_is_read() -> None:
    header = struct.pack(">IIBBBBB", 2, 1, 16, 4, 0, 0, 0)
    line = struct.pack(">4H", 0, 65_535, 30_000, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + line)), (b"IEND", b"")]

    assert pixels(decode_rgb(write_png(chunks), MAX_PIXELS))[0, :, 0].tolist() == [0, 255]


def test_an_interlaced_png_is_read() -> None:
    """One pixel, all of which is in the first of the seven passes."""
    chunks = png_chunks(encode(Image.new("RGB", (1, 1), (10, 20, 30)), "PNG"))
    header = chunks[0][1][:12] + b"\1"

    assert decode_rgb(write_png([(b"IHDR", header), *chunks[1:]]), MAX_PIXELS).getpixel((0, 0)) == (10, 20, 30)


def test_a_picture_of_one_bit_is_read() -> None:
    picture = PICTURE.convert("1")

    for picture_format in ("PNG", "TIFF", "BMP"):
        decoded = decode_rgb(encode(picture, picture_format), MAX_PIXELS)
        assert worst_difference(decoded, picture.convert("RGB")) == 0


def test_a_palette_with_alpha_is_put_on_a_background() -> None:
    palette = Image.new("P", (3, 1))
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 0, 200])
    palette.putdata([0, 1, 2])

    decoded = decode_rgb(encode(palette, "PNG", transparency=bytes((0, 128, 255))), MAX_PIXELS)

    assert pixels(decoded)[0].tolist() == [[255, 255, 255], [227, 127, 127], [0, 0, 200]]


def test_a_webp_with_alpha_is_put_on_a_background() -> None:
    picture = Image.new("RGBA", (16, 16), (200, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (8, 0, 16, 16))

    decoded = decode_rgb(encode(picture, "WEBP", lossless=True), MAX_PIXELS)

    assert (decoded.getpixel((2, 2)), decoded.getpixel((12, 2))) == ((200, 0, 0), (255, 255, 255))


def test_a_bmp_with_alpha_is_put_on_a_background() -> None:
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    info = struct.pack("<IiiHHIIiiII", 108, 2, 1, 1, 32, 3, 8, 2835, 2835, 0, 0) + masks + b"BGRs" + bytes(48)
    rows = bytes((30, 20, 10, 255)) + bytes((0, 0, 0, 0))
    head = b"BM" + struct.pack("<IHHI", 14 + len(info) + len(rows), 0, 0, 14 + len(info))

    decoded = decode_rgb(head + info + rows, MAX_PIXELS)

    assert pixels(decoded)[0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_a_lab_tiff_has_its_colours() -> None:
    picture = Image.new("RGB", (8, 8), (200, 80, 40))
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    stored = ImageCms.profileToProfile(picture, srgb, lab, outputMode="LAB")
    assert stored is not None

    decoded = decode_rgb(encode(stored, "TIFF"), MAX_PIXELS)

    assert worst_difference(decoded, picture) <= 4


def test_a_jpeg_with_arithmetic_coding_is_read() -> None:
    decoded = decode_rgb(ARITHMETIC, MAX_PIXELS)

    assert np.abs(pixels(decoded)[2, 2] - (200, 40, 40)).max() <= 4
    assert np.abs(pixels(decoded)[2, 13] - (40, 40, 200)).max() <= 4


def test_jpeg_2000_is_refused_by_name() -> None:
    with pytest.raises(PictureRejected, match=r"^JPEG 2000 pictures are not read; convert it to JPEG"):
        decode_rgb(encode(PICTURE, "JPEG2000"), MAX_PIXELS)
