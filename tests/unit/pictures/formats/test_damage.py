"""A file with complete pixels is read despite other damage; a file that lacks pixels is refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from sidecar.errors import PictureRejected
from sidecar.pictures.decode import decode_rgb
from tests.unit.pictures import profiles
from tests.unit.pictures.files import png_chunk, png_chunks, png_of_samples, png_with, write_png
from tests.unit.pictures.pictures import encode, make_picture, worst_difference

MAX_PIXELS = 1_000_000
PICTURE = make_picture(64, 48)
PNG = encode(PICTURE, "PNG")
LARGE = b"x" * (2 << 20)


def reject(image: bytes) -> PictureRejected:
    with pytest.raises(PictureRejected) as caught:
        decode_rgb(image, MAX_PIXELS)
    return caught.value


def damaged(image: bytes, kind: bytes, offset: int = 5) -> bytes:
    """The file with one byte changed in the data of its first chunk of that kind."""
    place = image.index(kind) + offset
    return image[:place] + bytes([image[place] ^ 0xFF]) + image[place + 1 :]


def with_wrong_length(image: bytes, kind: bytes) -> bytes:
    place = image.index(kind) - 4
    return image[:place] + b"\x7f\xff\xff\xff" + image[place + 4 :]


COMMENT = (b"tEXt", b"Comment\0words")
PROFILE = (b"iCCP", b"name\0\0" + zlib.compress(profiles.srgb() + LARGE))
WHOLE_PNGS = {
    "2 MiB of packed text": png_with(PNG, (b"zTXt", b"Comment\0\0" + zlib.compress(LARGE))),
    "2 MiB of packed international text": png_with(PNG, (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(LARGE))),
    "2 MiB of packed text behind the pixels": png_with(
        PNG, (b"zTXt", b"Comment\0\0" + zlib.compress(LARGE)), before=b"IEND"
    ),
    "70 MiB of text": png_with(PNG, *((b"tEXt", b"Comment\0" + LARGE) for _ in range(35))),
    "a profile of 2 MiB": png_with(PNG, PROFILE),
    "2 MiB of packed XMP": png_with(PNG, (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LARGE))),
    "2 MiB of packed EXIF in text": png_with(PNG, (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(LARGE))),
    "a damaged comment": damaged(png_with(PNG, COMMENT), b"tEXt"),
    "a damaged late comment": damaged(png_with(PNG, COMMENT, before=b"IEND"), b"tEXt"),
    "a late comment without end": with_wrong_length(png_with(PNG, COMMENT, before=b"IEND"), b"tEXt"),
    "a damaged time": damaged(png_with(PNG, (b"tIME", bytes(7))), b"tIME"),
    "damaged EXIF": damaged(png_with(PNG, (b"eXIf", b"II*\0\x08\0\0\0\0\0")), b"eXIf"),
    "a damaged profile": damaged(png_with(PNG, (b"iCCP", b"n\0\0" + zlib.compress(profiles.srgb()))), b"iCCP", 12),
    "an unknown compression of its profile": png_with(PNG, (b"iCCP", b"n\0\7" + zlib.compress(profiles.srgb()))),
    "a short gamma": png_with(PNG, (b"gAMA", b"\0")),
    "no end": PNG[:-12],
    "half an end": PNG[:-5],
    "garbage in place of its end": PNG[:-12] + b"\0\0\0\5\xff\xfe\0\1garbage",
    "garbage behind its end": PNG + b"garbage",
    "the frames of an animation, damaged": png_with(
        PNG, (b"acTL", bytes(8)), (b"fcTL", b"\0\0\0\7" + bytes(22)), (b"fdAT", bytes(9))
    ),
    "a wrong sum of its pixels": write_png(
        [(kind, data[:-4] + b"abcd" if kind == b"IDAT" else data) for kind, data in png_chunks(PNG)]
    ),
}


@pytest.mark.parametrize("image", WHOLE_PNGS.values(), ids=WHOLE_PNGS)
def test_a_png_is_read_despite_damage_outside_its_pixels(image: bytes) -> None:
    assert worst_difference(decode_rgb(image, MAX_PIXELS), PICTURE) == 0


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.99])
def test_a_png_that_lacks_pixels_is_refused(kept: float) -> None:
    error = reject(PNG[: int((len(PNG) - 12) * kept)])

    assert error.code == "truncated_picture"
    assert "is cut off, its end is missing" in error.message


def test_a_png_that_lacks_pixels_and_has_an_end_is_refused() -> None:
    chunks = [(kind, data[: len(data) // 2] if kind == b"IDAT" else data) for kind, data in png_chunks(PNG)]

    error = reject(write_png(chunks))

    assert error.code == "truncated_picture"
    assert "is damaged" in error.message


def test_a_png_whose_pixels_are_damaged_is_refused() -> None:
    error = reject(damaged(PNG, b"IDAT", len(PNG) // 2))

    assert error.code == "truncated_picture"
    assert "is damaged" in error.message


def test_pixels_in_many_chunks_are_read() -> None:
    [(_, data)] = [chunk for chunk in png_chunks(PNG) if chunk[0] == b"IDAT"]
    parts = b"".join(png_chunk(b"IDAT", data[at : at + 100]) for at in range(0, len(data), 100))
    image = PNG[: PNG.index(b"IDAT") - 4] + parts + png_chunk(b"tIME", bytes(3))

    assert worst_difference(decode_rgb(image, MAX_PIXELS), PICTURE) == 0


JPEGS: dict[str, Callable[[], bytes]] = {
    "baseline": lambda: encode(PICTURE, "JPEG"),
    "progressive": lambda: encode(PICTURE, "JPEG", progressive=True),
    "grey": lambda: encode(PICTURE.convert("L"), "JPEG"),
    "CMYK": lambda: encode(PICTURE.convert("CMYK"), "JPEG"),
    "with restarts": lambda: encode(PICTURE, "JPEG", restart_marker_rows=1),
    "noise": lambda: encode(Image.effect_noise((65, 47), 90), "JPEG", quality=100),
}


@pytest.mark.parametrize("make_image", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_that_lacks_only_its_end_marker_is_read(make_image: Callable[[], bytes], missing: int) -> None:
    image = make_image()

    decoded = decode_rgb(image[:-missing], MAX_PIXELS)

    assert worst_difference(decoded, decode_rgb(image, MAX_PIXELS)) == 0


@pytest.mark.parametrize("make_image", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("missing", [4, 5, 6, 7, 8, 9, 20, 200])
def test_a_jpeg_that_lacks_pixels_is_refused(make_image: Callable[[], bytes], missing: int) -> None:
    error = reject(make_image()[:-missing])

    assert error.code == "truncated_picture"
    assert "is cut off, its end is missing" in error.message


def test_a_progressive_jpeg_that_ends_between_two_scans_is_refused() -> None:
    image = encode(PICTURE, "JPEG", progressive=True)

    assert "is cut off" in reject(image[: image.rindex(b"\xff\xda")]).message


def test_a_jpeg_with_zeros_in_place_of_its_end_is_refused() -> None:
    """An interrupted transfer into a file of the full size."""
    image = encode(PICTURE, "JPEG")

    assert reject(image[: len(image) // 2] + bytes(len(image) // 2)).code == "truncated_picture"


def test_a_webp_that_ends_in_its_metadata_is_read() -> None:
    image = encode(PICTURE, "WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0", xmp=b"<x/>" * 50)

    assert worst_difference(decode_rgb(image[:-20], MAX_PIXELS), PICTURE) == 0
    assert "is cut off" in reject(image[: len(image) // 2]).message


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_bytes_behind_a_picture_are_ignored(picture_format: str) -> None:
    image = encode(PICTURE, picture_format)

    assert worst_difference(decode_rgb(image + b"more", MAX_PIXELS), decode_rgb(image, MAX_PIXELS)) == 0


def test_a_gif_without_its_last_byte_is_read() -> None:
    image = encode(PICTURE, "GIF")

    assert worst_difference(decode_rgb(image[:-1], MAX_PIXELS), decode_rgb(image, MAX_PIXELS)) == 0


def test_a_jpeg_of_12_bits_is_refused_by_name() -> None:
    image = bytearray(encode(PICTURE, "JPEG"))
    image[image.index(b"\xff\xc0") + 4] = 12

    error = reject(bytes(image))

    assert error.code == "unsupported_format"
    assert "12-bit" in error.message


def test_a_bmp_of_an_unsupported_kind_is_refused_as_such() -> None:
    """Not reported as damage, to be saved again: the same program would write the same kind."""
    image = bytearray(encode(PICTURE, "BMP"))
    image[30] = 6  # BI_ALPHABITFIELDS

    error = reject(bytes(image))

    assert error.code == "unsupported_format"
    assert error.message.startswith("BMP pictures of this kind are not read")


@pytest.mark.parametrize("picture_format", ["PNG", "GIF"])
def test_a_picture_without_width_is_damaged(picture_format: str) -> None:
    image = bytearray(encode(PICTURE.convert("P"), picture_format))
    if picture_format == "PNG":
        header = bytes(4) + bytes(image[20:29])
        image[8:33] = png_chunk(b"IHDR", header)
    else:
        image[6:8] = image[image.index(b",") + 5 : image.index(b",") + 7] = bytes(2)

    error = reject(bytes(image))

    assert error.code == "truncated_picture"
    assert "is damaged" in error.message


@pytest.mark.parametrize("channels", [12, 16], ids=["12 bits in 16", "a transparent colour"])
def test_16_bit_colours_with_a_wrong_checksum_are_read(channels: int) -> None:
    samples = (np.arange(64 * 48 * 3).reshape(48, 64, 3) % (1 << channels)).astype(">u2")
    added = [] if channels == 12 else [(b"tRNS", struct.pack(">HHH", 0, 1, 2))]
    image = png_of_samples(samples, 16, *added)
    wrong = write_png([(kind, data[:-4] + b"abcd" if kind == b"IDAT" else data) for kind, data in png_chunks(image)])

    assert worst_difference(decode_rgb(wrong, MAX_PIXELS), decode_rgb(image, MAX_PIXELS)) == 0
