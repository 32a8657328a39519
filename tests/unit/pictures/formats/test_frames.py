"""Which of several pictures in a file is read. See docs/pictures.md."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sidecar.errors import PictureRejected
from sidecar.pictures.decode import decode_rgb
from tests.unit.pictures.files import png_chunks, write_png
from tests.unit.pictures.pictures import encode, pixels

MAX_PIXELS = 1_000_000
RED, BLUE, GREEN = (Image.new("RGB", (40, 30), name) for name in ("red", "blue", "lime"))


def nearly(image: bytes, expected: Image.Image) -> bool:
    decoded = decode_rgb(image, MAX_PIXELS)
    return decoded.size == expected.size and int(np.abs(pixels(decoded) - pixels(expected)).max()) <= 3


@pytest.mark.parametrize("picture_format", ["GIF", "WEBP", "PNG", "AVIF", "TIFF", "MPO"])
def test_the_first_frame_is_read(picture_format: str) -> None:
    image = encode(RED, picture_format, save_all=True, append_images=[BLUE, GREEN])

    assert nearly(image, RED)


def test_an_apng_whose_default_image_is_no_frame_is_read_from_its_first_frame() -> None:
    """Such a default image says "cannot be played" to old viewers; no other viewer shows it."""
    image = encode(RED, "PNG", save_all=True, default_image=True, append_images=[BLUE, GREEN])

    assert nearly(image, BLUE)


def test_an_apng_whose_default_image_is_its_first_frame_is_read_from_that() -> None:
    image = encode(RED, "PNG", save_all=True, append_images=[BLUE, GREEN])

    assert [kind for kind, _ in png_chunks(image)].index(b"fcTL") < [kind for kind, _ in png_chunks(image)].index(
        b"IDAT"
    )
    assert nearly(image, RED)


def test_an_apng_without_frames_is_read_as_a_png() -> None:
    image = encode(RED, "PNG")
    chunks = png_chunks(image)

    assert nearly(write_png([chunks[0], (b"acTL", struct.pack(">II", 2, 0)), *chunks[1:]]), RED)


def _animated(picture: Image.Image, *frames: tuple[bytes, bytes]) -> bytes:
    header, *pixels_of_it, end = png_chunks(encode(picture, "PNG"))
    return write_png([header, (b"acTL", struct.pack(">II", 1, 0)), *pixels_of_it, *frames, end])


_FRAME = (b"fcTL", struct.pack(">IIIIIHHBB", 0, 10, 10, 0, 0, 1, 1, 0, 0))
_FRAME_DATA = (b"fdAT", struct.pack(">I", 1) + zlib.compress(bytes(31) * 10))


@pytest.mark.parametrize(
    "frames",
    [
        [_FRAME_DATA],
        [_FRAME_DATA, _FRAME],
        [(b"fcTL", struct.pack(">I", 7) + _FRAME[1][4:]), _FRAME_DATA],
        [_FRAME, (b"fdAT", struct.pack(">I", 9) + _FRAME_DATA[1][4:])],
        [_FRAME, (b"fdAT", struct.pack(">I", 1) + b"rubbish")],
    ],
    ids=["no frame", "data before a frame", "a wrong number", "a wrong number of data", "damaged pixels"],
)
def test_an_apng_with_damaged_frames_is_read_from_its_default_image(frames: list[tuple[bytes, bytes]]) -> None:
    """As in browsers: its pixels are complete."""
    assert nearly(_animated(RED, *frames), RED)


def test_an_apng_of_too_many_pixels_is_refused_before_any_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its default image included, which Pillow decodes before the frame after it."""
    image = _animated(RED, _FRAME, _FRAME_DATA)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("pixels were decoded"))

    with pytest.raises(PictureRejected) as caught:
        decode_rgb(image, RED.width * RED.height - 1)

    assert caught.value.code == "too_many_pixels"


def test_a_partial_first_frame_is_composited_on_its_canvas() -> None:
    header, *_ = png_chunks(encode(Image.new("RGB", (40, 30), "black"), "PNG"))
    small = zlib.compress((b"\0" + b"\xff\0\0" * 10) * 10)
    frame = struct.pack(">IIIIIHHBB", 0, 10, 10, 5, 5, 1, 1, 0, 0)
    default = png_chunks(encode(GREEN, "PNG"))[1]
    image = write_png(
        [
            header,
            (b"acTL", struct.pack(">II", 1, 0)),
            default,
            (b"fcTL", frame),
            (b"fdAT", struct.pack(">I", 1) + small),
            (b"IEND", b""),
        ]
    )

    decoded = decode_rgb(image, MAX_PIXELS)

    assert decoded.size == (40, 30)
    assert decoded.getpixel((8, 8)) == (255, 0, 0)


@pytest.mark.parametrize(("picture_format", "name"), [("ICO", "ICO"), ("ICNS", "ICNS")])
def test_icon_files_are_refused_by_name(picture_format: str, name: str) -> None:
    with pytest.raises(PictureRejected, match=f"^{name} pictures are not read"):
        decode_rgb(encode(RED.resize((64, 64)), picture_format), MAX_PIXELS)


def test_photoshop_files_are_refused_by_name() -> None:
    with pytest.raises(PictureRejected, match=r"^Photoshop pictures are not read"):
        decode_rgb(b"8BPS\0\1" + bytes(100), MAX_PIXELS)
