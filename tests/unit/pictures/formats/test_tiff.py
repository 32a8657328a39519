"""TIFF with every kind of sample is decoded correctly or refused by name."""

from __future__ import annotations

import struct
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sidecar.errors import PictureRejected
from sidecar.pictures.decode import decode_rgb
from tests.unit.pictures.files import TiffPage, png_of_samples, write_tiff
from tests.unit.pictures.pictures import encode

MAX_PIXELS = 1_000_000
Order = Literal["<", ">"]
SIXTEEN = np.array([[0, 100, 30_000, 65_535]], dtype=np.uint16)
BLACK_TO_WHITE = [0, 0, 117, 255]
COLOURS = np.array([[[0, 100, 65_535], [30_000, 65_535, 0]]], dtype=np.uint16)


def decode(page: TiffPage, order: Order = "<") -> NDArray[np.uint8]:
    return np.asarray(decode_rgb(write_tiff([page], order), MAX_PIXELS))


def reject(page: TiffPage) -> PictureRejected:
    with pytest.raises(PictureRejected) as caught:
        decode(page)
    return caught.value


GREYS: dict[str, NDArray[Any]] = {
    "16 bits": SIXTEEN,
    "16 bits, signed": (SIXTEEN.astype(np.int32) - 32_768).astype(np.int16),
    "16 bits in 32": SIXTEEN.astype(np.uint32),
    "32 bits": SIXTEEN.astype(np.uint32) * 65_537,
    "32 bits, signed": (SIXTEEN.astype(np.int64) * 65_537 - 2**31).astype(np.int32),
    "32 bits, float": (SIXTEEN / 65_535).astype(np.float32),
    "64 bits, float": SIXTEEN / 65_535,
    "floats of any range": (SIXTEEN / 100).astype(np.float32),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflated", [False, True], ids=["plain", "deflated"])
@pytest.mark.parametrize("samples", GREYS.values(), ids=GREYS)
def test_every_width_of_grey_is_scaled_to_black_and_white(samples: NDArray[Any], deflated: bool, order: Order) -> None:
    decoded = decode(TiffPage(samples, deflated=deflated), order)

    assert np.abs(decoded[0, :, 0].astype(int) - BLACK_TO_WHITE).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflated", [False, True], ids=["plain", "deflated"])
@pytest.mark.parametrize("name", ["16 bits", "32 bits", "32 bits, float"])
def test_white_is_zero_is_inverted_at_every_width(name: str, deflated: bool, order: Order) -> None:
    decoded = decode(TiffPage(GREYS[name], photometric=0, deflated=deflated), order)

    assert np.abs(decoded[0, :, 0].astype(int) - [255, 255, 138, 0]).max() <= 1


def test_white_is_zero_is_inverted_at_8_bits() -> None:
    assert decode(TiffPage(np.array([[0, 55, 255]], dtype=np.uint8), photometric=0))[0, :, 0].tolist() == [255, 200, 0]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflated", [False, True], ids=["plain", "deflated"])
def test_12_bits_are_as_bright_in_16_as_packed(deflated: bool, order: Order) -> None:
    for page in (TiffPage(SIXTEEN >> 4, deflated=deflated), TiffPage(SIXTEEN >> 4, bits=12, deflated=deflated)):
        assert decode(page, order)[0, :, 0].tolist() == BLACK_TO_WHITE


def test_12_bits_in_16_are_as_bright_in_a_png() -> None:
    decoded = decode_rgb(png_of_samples(SIXTEEN >> 4, 16), MAX_PIXELS)

    assert np.asarray(decoded)[0, :, 0].tolist() == BLACK_TO_WHITE


def test_the_brightest_value_stated_in_the_file_is_white() -> None:
    assert decode(TiffPage(SIXTEEN >> 6, tags={281: 1023}))[0, :, 0].tolist() == BLACK_TO_WHITE


def test_dark_pictures_of_16_bits_stay_dark() -> None:
    assert decode(TiffPage(SIXTEEN >> 1))[0, :, 0].tolist() == [0, 0, 58, 127]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflated", [False, True], ids=["plain", "deflated"])
@pytest.mark.parametrize("shift", [0, 4], ids=["16 bits", "12 bits in 16"])
def test_colours_of_16_bits_are_scaled(shift: int, deflated: bool, order: Order) -> None:
    decoded = decode(TiffPage(COLOURS >> shift, photometric=2, deflated=deflated), order)

    assert decoded.tolist() == [[[0, 0, 255], [117, 255, 0]]]


def test_colours_of_12_bits_in_16_are_as_bright_in_a_png() -> None:
    decoded = decode_rgb(png_of_samples(COLOURS >> 4, 16), MAX_PIXELS)

    assert np.asarray(decoded).tolist() == [[[0, 0, 255], [117, 255, 0]]]


def test_a_black_picture_of_16_bits_stays_black() -> None:
    assert decode(TiffPage(np.zeros((2, 2, 3), dtype=np.uint16), photometric=2)).max() == 0


@pytest.mark.parametrize("deflated", [False, True], ids=["plain", "deflated"])
def test_colours_in_separate_planes_are_read(deflated: bool) -> None:
    eight = (COLOURS >> 8).astype(np.uint8)

    assert decode(TiffPage(eight, photometric=2, planes=True, deflated=deflated)).tolist() == eight.tolist()


UNREADABLE: dict[str, TiffPage] = {
    "floats of 16 bits": TiffPage((SIXTEEN / 65_535).astype(np.float16)),
    "integers of 64 bits": TiffPage(SIXTEEN.astype(np.uint64)),
    "signed bytes": TiffPage(np.array([[-128, 127]], dtype=np.int8)),
    "colours as floats": TiffPage((COLOURS / 65_535).astype(np.float32), photometric=2),
    "colours of 32 bits": TiffPage(COLOURS.astype(np.uint32), photometric=2),
    "colours of 12 bits": TiffPage(COLOURS >> 4, photometric=2, bits=12),
    "16 bits in separate planes": TiffPage(COLOURS, photometric=2, planes=True),
    "grey of 16 bits with alpha": TiffPage(np.stack([SIXTEEN, SIXTEEN], -1), tags={338: 2}),
    "camera raw": TiffPage(SIXTEEN, photometric=32_803),
}


@pytest.mark.parametrize("page", UNREADABLE.values(), ids=UNREADABLE)
def test_unsupported_kinds_are_refused_by_name(page: TiffPage) -> None:
    error = reject(page)

    assert error.code == "unsupported_format"
    assert "BitsPerSample" in error.message or "Camera raw" in error.message


def test_a_tiff_packed_as_webp_is_refused_by_name() -> None:
    image = bytearray(write_tiff([TiffPage(np.full((8, 8), 9, np.uint8))]))
    [place] = [at for at in range(len(image)) if image[at : at + 8] == struct.pack("<HHI", 259, 3, 1)]
    image[place + 8 : place + 10] = struct.pack("<H", 50001)

    with pytest.raises(PictureRejected, match="Compression 50001") as caught:
        decode_rgb(bytes(image), 1_000_000)

    assert caught.value.code == "unsupported_format"


def test_a_directory_beyond_all_bytes_is_damage() -> None:
    """Python cannot seek there; the error must not be reported as a crash of the decoder, which is retried."""
    with pytest.raises(PictureRejected) as caught:
        decode_rgb(b"II+\0\x08\0\0\0" + b"\xff" * 8, 1_000_000)

    assert caught.value.code == "truncated_picture"


@pytest.mark.parametrize("first", [0.5, np.nan], ids=["later", "first"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_floats_are_refused_at_any_position(first: float, value: float) -> None:
    error = reject(TiffPage(np.array([[first, 0.25, value, 1.0]], dtype=np.float32)))

    assert error.code == "unsupported_format"
    assert "finite numbers" in error.message


BIG, SMALL = np.full((40, 50), 255, dtype=np.uint8), np.zeros((4, 5), dtype=np.uint8)
WHOLE = TiffPage(BIG)
FILES: dict[str, list[TiffPage]] = {
    "one page": [WHOLE],
    "several pages": [WHOLE, TiffPage(SMALL)],
    "a thumbnail first": [TiffPage(SMALL, tags={254: 1}), WHOLE],
    "a thumbnail first, as of old": [TiffPage(SMALL, tags={255: 2}), WHOLE],
    "a mask first": [TiffPage(SMALL, tags={254: 4}), WHOLE],
    "two thumbnails first": [TiffPage(SMALL, tags={254: 1}), TiffPage(SMALL, tags={254: 1}), WHOLE],
    "below its thumbnail": [TiffPage(SMALL, tags={254: 1}, below=[WHOLE])],
    "a page of a document": [TiffPage(BIG, tags={254: 2}), TiffPage(SMALL, tags={254: 2})],
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("pages", FILES.values(), ids=FILES)
def test_the_first_page_that_is_not_a_thumbnail_is_read(pages: list[TiffPage], order: Order) -> None:
    decoded = decode_rgb(write_tiff(pages, order), MAX_PIXELS)

    assert decoded.size == (50, 40)
    assert np.asarray(decoded).min() == 255


def test_a_file_of_thumbnails_alone_is_read() -> None:
    assert decode_rgb(write_tiff([TiffPage(SMALL, tags={254: 1})]), MAX_PIXELS).size == (5, 4)


def test_a_circular_chain_of_pages_is_read() -> None:
    image = bytearray(write_tiff([TiffPage(SMALL, tags={254: 1})]))
    first = struct.unpack_from("<I", image, 4)[0]
    entries = struct.unpack_from("<H", image, first)[0]
    struct.pack_into("<I", image, first + 2 + 12 * entries, first)

    assert decode_rgb(bytes(image), MAX_PIXELS).size == (5, 4)


def test_a_bigtiff_is_read_with_all_its_pages() -> None:
    small, whole = (Image.fromarray(samples) for samples in (SMALL, BIG))
    image = bytearray(encode(small, "TIFF", big_tiff=True, tiffinfo={254: 1}, save_all=True, append_images=[whole]))
    entry = struct.pack("<HHQ", 254, 4, 1)
    image[image.rindex(entry) + len(entry)] = 0  # the second page is no thumbnail

    assert decode_rgb(bytes(image), MAX_PIXELS).size == (50, 40)


def test_a_directory_beyond_the_end_is_reported_as_truncation() -> None:
    with pytest.raises(PictureRejected, match="is cut off, its end is missing"):
        decode_rgb(b"MM\0*\0\0\xff\xff" + bytes(50), MAX_PIXELS)


def test_the_pixels_of_the_chosen_page_are_limited() -> None:
    image = write_tiff([TiffPage(SMALL, tags={254: 1}), WHOLE])

    with pytest.raises(PictureRejected) as caught:
        decode_rgb(image, max_pixels=1999)

    assert caught.value.code == "too_many_pixels"
