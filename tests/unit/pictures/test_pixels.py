from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from sidecar.errors import PictureRejected
from sidecar.pictures.pixels import to_rgb
from tests.unit.pictures.pictures import encode, make_picture, pixels, worst_difference


def reopen(image: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(image))
    picture.load()
    return picture


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


ORIENTATIONS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda array: array,
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: array.transpose(1, 0, 2),
    6: lambda array: np.rot90(array, -1),
    7: lambda array: array[::-1, ::-1].transpose(1, 0, 2),
    8: lambda array: np.rot90(array, 1),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("picture_format", ["PNG", "TIFF"])
def test_exif_orientation_is_applied(picture_format: str, orientation: int) -> None:
    stored = make_picture(30, 20)

    upright = to_rgb(reopen(encode(stored, picture_format, exif=oriented(orientation))))

    assert np.array_equal(np.asarray(upright), ORIENTATIONS[orientation](np.asarray(stored)))


@pytest.mark.parametrize("picture_format", ["JPEG", "WEBP", "AVIF"])
def test_exif_orientation_is_applied_in_lossy_formats(picture_format: str) -> None:
    upright = to_rgb(reopen(encode(make_picture(300, 200), picture_format, exif=oriented(6))))

    assert upright.size == (200, 300)
    assert np.abs(pixels(upright) - np.rot90(pixels(make_picture(300, 200)), -1)).mean() < 15


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    stored = make_picture(30, 20)

    assert worst_difference(to_rgb(reopen(encode(stored, "PNG", exif=oriented(orientation)))), stored) == 0


def test_a_picture_with_a_damaged_exif_block_is_read() -> None:
    stored = make_picture(30, 20)

    picture = reopen(encode(stored, "PNG", exif=b"Exif\0\0XX\0\0nonsense"))

    assert worst_difference(to_rgb(picture), stored) == 0


def test_16_bits_are_scaled_and_not_clipped() -> None:
    values = np.array([[0, 256, 30_000, 65_535]], dtype=np.uint16)

    rgb = to_rgb(reopen(encode(Image.fromarray(values), "PNG")))

    assert rgb.mode == "RGB"
    assert np.asarray(rgb).tolist() == [[[0] * 3, [1] * 3, [117] * 3, [255] * 3]]
    assert np.asarray(Image.fromarray(values).convert("RGB"))[0, 2, 0] == 255  # Pillow alone clips 30,000


def test_16_bits_of_both_byte_orders_are_scaled_alike() -> None:
    values = np.arange(0, 65_536, 111, dtype=np.uint16).reshape(1, -1)
    little = to_rgb(reopen(encode(Image.fromarray(values), "TIFF")))
    big = to_rgb(reopen(encode(Image.frombytes("I;16B", (values.size, 1), values.astype(">u2").tobytes()), "TIFF")))

    assert np.asarray(little)[0, :, 0].tolist() == np.rint(values[0] / 257).astype(int).tolist()
    assert worst_difference(little, big) == 0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 257, 65_535]], dtype=np.int32), [0, 1, 255]),  # 16 bits in a wider box
        (np.array([[-1000, 0, 1000]], dtype=np.int32), [0, 128, 255]),
        (np.array([[0, 2**30]], dtype=np.int32), [0, 255]),
        (np.array([[7, 7]], dtype=np.int32), [0, 0]),
        (np.array([[0.0, 0.5, 1.0]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0.25, 0.5]], dtype=np.float32), [64, 128]),  # within 0 … 1: not stretched
        (np.array([[-2.0, 0.0, 2.0]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 200.0]], dtype=np.float32), [0, 128, 255]),
    ],
)
def test_wider_pixels_are_scaled(values: NDArray[np.generic], expected: list[int]) -> None:
    rgb = to_rgb(reopen(encode(Image.fromarray(values), "TIFF")))

    assert np.asarray(rgb)[0, :, 0].tolist() == expected


def test_non_finite_floats_are_rejected() -> None:
    values = np.array([[0.0, np.inf]], dtype=np.float32)

    with pytest.raises(PictureRejected, match=r"from 0\.0 to inf") as caught:
        to_rgb(Image.fromarray(values))

    assert caught.value.code == "unsupported_format"


def with_alpha(mode: str) -> Image.Image:
    """A dark picture with an opaque left half and a transparent right half."""
    alpha = Image.new("L", (8, 4), 0)
    alpha.paste(255, (0, 0, 4, 4))
    picture = Image.new(mode, (8, 4))
    picture.putalpha(alpha)
    return picture


@pytest.mark.parametrize("picture", [with_alpha("RGB"), with_alpha("L")], ids=["RGBA", "LA"])
def test_transparent_pixels_become_white(picture: Image.Image) -> None:
    rgb = to_rgb(reopen(encode(picture, "PNG")))

    assert rgb.mode == "RGB"
    assert pixels(rgb)[:, :4].max() == 0
    assert pixels(rgb)[:, 4:].min() == 255


@pytest.mark.parametrize("mode", ["PA", "La", "RGBa"])
def test_unusual_alpha_modes_become_white_too(mode: str) -> None:
    source = with_alpha("L" if mode == "La" else "RGB")
    picture = Image.new("PA", (8, 4)) if mode == "PA" else source.convert(mode)
    if mode == "PA":
        picture.putpalette([0, 0, 0] * 256)
        picture.putalpha(source.getchannel("A"))

    rgb = to_rgb(picture)

    assert pixels(rgb)[:, :4].max() == 0
    assert pixels(rgb)[:, 4:].min() == 255


def test_half_transparent_is_half_white() -> None:
    rgb = to_rgb(Image.new("RGBA", (2, 2), (0, 100, 200, 128)))

    assert rgb.getpixel((0, 0)) == (127, 177, 227)


@pytest.mark.parametrize("transparency", [3, bytes([255, 255, 255, 0])], ids=["index", "table"])
def test_a_transparent_palette_entry_becomes_white(transparency: int | bytes) -> None:
    picture = Image.new("P", (4, 1))
    picture.putpalette([10, 20, 30] * 4)
    picture.putdata([0, 1, 2, 3])

    rgb = to_rgb(reopen(encode(picture, "PNG", transparency=transparency)))

    assert [rgb.getpixel((x, 0)) for x in range(4)] == [(10, 20, 30)] * 3 + [(255, 255, 255)]


def test_a_transparent_colour_becomes_white() -> None:
    picture = Image.new("RGB", (2, 1), (1, 2, 3))
    picture.putpixel((1, 0), (9, 9, 9))

    rgb = to_rgb(reopen(encode(picture, "PNG", transparency=(9, 9, 9))))

    assert [rgb.getpixel((x, 0)) for x in range(2)] == [(1, 2, 3), (255, 255, 255)]


def test_a_transparent_16_bit_grey_is_kept_grey() -> None:
    values = np.array([[0, 65_535]], dtype=np.uint16)

    rgb = to_rgb(reopen(encode(Image.fromarray(values), "PNG", transparency=65_535)))

    assert np.asarray(rgb)[0, :, 0].tolist() == [0, 255]


def test_an_opaque_alpha_channel_changes_nothing() -> None:
    picture = make_picture(30, 20)

    assert worst_difference(to_rgb(picture.convert("RGBA")), picture) == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV"])
def test_other_modes_are_converted(mode: str) -> None:
    picture = make_picture(30, 20).convert(mode)

    assert worst_difference(to_rgb(picture), picture.convert("RGB")) == 0


def test_lab_is_converted() -> None:
    white = Image.new("LAB", (2, 2), (255, 128, 128))

    assert pixels(to_rgb(white)).min() >= 250
