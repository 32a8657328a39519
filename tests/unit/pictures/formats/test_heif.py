"""HEIC, the format of iPhones, within the limits of a decoder process."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import ExifTags, Image

from sidecar.errors import PictureRejected
from sidecar.pictures.decode import decode_rgb
from sidecar.pictures.formats.signatures import detect_format
from tests.unit.pictures.decoder.pools import SETTINGS, only_child, running_pool
from tests.unit.pictures.files import write_heic
from tests.unit.pictures.pictures import encode, make_picture, pixels

MAX_PIXELS = 1_000_000
# A compressed file of 16,794 bytes: a black picture of 12000 x 6000 pixels, which takes a minute to encode.
BLACK = (
    "eNrt2M9rE0EUB/A3u0ldpbWRatNKrbE16KkazyKL9qII9upBaLrdkMHdZkyDRETcIurVnyB4CV4bm3g0koP9C7xpb7l48pKDSBFLnElSDz0b8O"
    "H3ZdiZeTubfPaxh50Q0VSudEflfemRjlDmMmYcymyOSFwP/VKWenEivxwU+2NS0ivRnpiRQaH7JfMuCf3RIe71eiL3mD7MSrmS605N9oie+FZ/"
    "lr/tZczwoJKl8M+SLamKSvcNqbyC7u/qZZeEbVJPuouabfq1s71NNGov6ismXDEsOh2zwDYrbNOaDcvN6pNzF4XYc6ZCNzYpectvPLty83X06I"
    "FlsufMwUos6Uv2zYuPxfqSq39pzCsExRUvKOv0CA1FOnVYriq/d3tzLaKkYSWULEuTsR3H0V1SqnC3groosTXLjulqpMPlrC6gO3la1OKJM86H"
    "d/VabeNtL6rV6vrfjGhHjFzufH7ZvvZw023vf7oQ9e//32+nUm/Wfk6n35fZiMX68/GvbTZcssW3x4y0REMBK66uLytvZpETV6xy0sbPc9KOTn"
    "DSTi1w0l5ocdLejzhpm5y0wueE3WKEtX7wwcau8rHGXzB6V/zOx+q84mM9wGc/RsNf+Fg5vXIdYrTJHWNkHf/Exzp5lo/1aJ2PldNmZprRM3Cc"
    "0bYrVeFjnWH0p9FsCtaBWFuwDqKdrMAKK6ywwjqIloYVVlhhhRVWWGGFFVZYYYUVVlhhhRVWWGGFFVZYYYUVVlhhhRVWWP9760CavfEbShkXSg"
    "=="
)
SMOOTH = make_picture(32, 24).resize((64, 48), Image.Resampling.BICUBIC)


def mean_difference(decoded: Image.Image, expected: Image.Image) -> float:
    assert decoded.size == expected.size
    return float(np.abs(pixels(decoded) - pixels(expected)).mean())


def reject(image: bytes) -> PictureRejected:
    with pytest.raises(PictureRejected) as caught:
        decode_rgb(image, MAX_PIXELS)
    return caught.value


@pytest.mark.parametrize("options", [{}, {"bit_depth": 10}, {"chroma": 444}, {"bit_depth": 12}], ids=str)
def test_heic_is_read(options: dict[str, int]) -> None:
    decoded = decode_rgb(write_heic(SMOOTH, quality=95, **options), MAX_PIXELS)

    assert decoded.mode == "RGB"
    assert mean_difference(decoded, SMOOTH) < 8


def test_grey_heic_is_read() -> None:
    decoded = decode_rgb(write_heic(SMOOTH.convert("L"), quality=95), MAX_PIXELS)

    assert mean_difference(decoded, SMOOTH.convert("L").convert("RGB")) < 4


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270), (2, Image.Transpose.FLIP_LEFT_RIGHT)],
)
def test_an_orientation_is_applied_once(orientation: int, turned: Image.Transpose) -> None:
    """An encoder writes it twice: as `irot` and `imir`, which libheif applies, and in EXIF."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation

    decoded = decode_rgb(write_heic(SMOOTH, exif=exif.tobytes(), quality=95), MAX_PIXELS)

    assert mean_difference(decoded, SMOOTH.transpose(turned)) < 8


def test_exif_alone_does_not_turn_a_heic() -> None:
    """In HEIC only `irot` and `imir` apply, as on the phone itself."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif_inside = exif.tobytes()
    image = write_heic(SMOOTH, exif=exif_inside, quality=95)
    turn = image.index(b"irot") + 4
    assert image[turn] == 3  # quarters

    decoded = decode_rgb(image[:turn] + b"\0" + image[turn + 1 :], MAX_PIXELS)

    assert mean_difference(decoded, SMOOTH) < 8


def test_xmp_does_not_turn_a_heic() -> None:
    xmp = b"<x:xmpmeta><rdf:Description tiff:Orientation='6'/></x:xmpmeta>"

    decoded = decode_rgb(write_heic(SMOOTH, xmp=xmp, quality=95), MAX_PIXELS)

    assert mean_difference(decoded, SMOOTH) < 8


def test_transparent_heic_is_put_on_a_background() -> None:
    picture = Image.new("RGBA", (64, 64), (200, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (32, 0, 64, 64))

    decoded = decode_rgb(write_heic(picture, quality=95), MAX_PIXELS)

    assert np.abs(pixels(decoded)[:, :24] - (200, 0, 0)).max() < 12
    assert pixels(decoded)[:, 40:].min() >= 250


@pytest.mark.parametrize("primary", [0, 1])
def test_the_primary_picture_of_a_heic_is_read(primary: int) -> None:
    red, blue = Image.new("RGB", (64, 48), "red"), Image.new("RGB", (64, 48), "blue")

    decoded = decode_rgb(write_heic(red, blue, primary_index=primary, quality=95), MAX_PIXELS)

    assert mean_difference(decoded, (red, blue)[primary]) < 8


@pytest.mark.parametrize("brand", [b"mif1", b"heix", b"heim", b"hevc", b"msf1", b"MiHB", b"avif", b"mp42"])
def test_a_heic_of_any_brand_is_read_by_what_is_in_it(brand: bytes) -> None:
    image = write_heic(SMOOTH, quality=95)

    assert mean_difference(decode_rgb(image[:8] + brand + image[12:], MAX_PIXELS), SMOOTH) < 8


@pytest.mark.parametrize("brand", [b"mif1", b"heic", b"miaf"])
def test_an_avif_of_another_brand_is_read_by_what_is_in_it(brand: bytes) -> None:
    image = encode(SMOOTH, "AVIF", quality=95)

    assert mean_difference(decode_rgb(image[:8] + brand + image[12:], MAX_PIXELS), SMOOTH) < 8
    assert mean_difference(decode_rgb(image.replace(b"avif", b"heic"), MAX_PIXELS), SMOOTH) < 8


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_heic_that_is_cut_off_is_refused_as_such(part: float) -> None:
    image = write_heic(SMOOTH)

    error = reject(image[: max(int(len(image) * part), 20)])

    assert error.code == "truncated_picture"
    assert "is cut off" in error.message


def test_a_heic_with_another_codec_is_refused_by_name() -> None:
    error = reject(write_heic(SMOOTH).replace(b"hvc1", b"vvc1"))

    assert error.code == "unsupported_format"
    assert error.message.startswith("HEIC pictures of this kind are not read")


def claiming(image: bytes, width: int, height: int) -> bytes:
    """The file with another size in its picture's header."""
    place = image.index(b"ispe") + 8
    return image[:place] + struct.pack(">II", width, height) + image[place + 8 :]


def test_a_heic_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    error = reject(claiming(write_heic(SMOOTH), 60_000, 60_000))

    assert error.code == "too_many_pixels"
    assert "60000 x 60000" in error.message


def test_a_heic_smaller_than_its_header_states_is_refused() -> None:
    assert reject(claiming(write_heic(SMOOTH), 900, 900)).code == "truncated_picture"


@pytest.mark.parametrize("tiles", [(1, 2), (40, 40), (256, 256)])
def test_a_grid_of_tiles_that_are_all_the_same_is_refused(tiles: tuple[int, int]) -> None:
    """A few bytes that claim 65,536 tiles."""
    error = reject(make_grid(write_heic(make_picture(64, 64), quality=50), *tiles))

    assert error.code in ("truncated_picture", "unsupported_format", "too_many_pixels")


def test_a_grid_without_width_is_reported_as_damage_not_as_lack_of_memory() -> None:
    """libheif reports both as a failed allocation, but a lack of memory is retried."""
    image = make_grid(write_heic(make_picture(64, 64), quality=50), 1, 1)
    width = image.rindex(b"mdat") + 8

    assert reject(image[:width] + bytes(4) + image[width + 4 :]).code == "truncated_picture"


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("mebibytes", [230, 300, 500])
async def test_a_heic_that_needs_too_much_memory_ends_no_process(mebibytes: int) -> None:
    """The allocation fails at a different step for each size: decoder, conversion to RGB, copy."""
    async with running_pool(replace(SETTINGS, memory_bytes=mebibytes << 20)) as pool:
        child = only_child().pid
        with pytest.raises(PictureRejected) as caught:
            await pool.decode(zlib.decompress(base64.b64decode(BLACK)))

        assert caught.value.code == "decode_out_of_memory"
        assert len((await pool.decode(write_heic(SMOOTH))).views) > 0
        assert only_child().pid == child


def test_videos_in_iso_media_files_are_not_pictures() -> None:
    assert detect_format(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom") is None
    assert detect_format(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") == "HEIC"


def make_grid(image: bytes, rows: int, columns: int) -> bytes:
    """A HEIC whose picture is a grid of tiles, each of them the picture of `image`, 64 pixels square."""
    codec, data = _box_of(image, b"hvcC"), _box_of(image, b"mdat")[8:]
    grid = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, columns * 64, rows * 64)
    items = _full_box(b"iinf", struct.pack(">H", 2) + _item(1, b"grid") + _item(2, b"hvc1"))
    tiles = struct.pack(">H", 2) * min(rows * columns, 65_535)
    references = _full_box(b"iref", _box(b"dimg", struct.pack(">HH", 1, len(tiles) // 2) + tiles))
    sizes = _size(columns * 64, rows * 64) + _size(64, 64)
    owners = struct.pack(">IHBBHBBB", 2, 1, 1, 1, 2, 2, 2, 0x83)
    properties = _box(b"iprp", _box(b"ipco", sizes + codec) + _full_box(b"ipma", owners))
    handler = _full_box(b"hdlr", bytes(4) + b"pict" + bytes(13))
    primary = _full_box(b"pitm", struct.pack(">H", 1))

    def head(offset: int) -> bytes:
        places = (1, 0, 1, offset, len(grid)), (2, 0, 1, offset + len(grid), len(data))
        extents = b"".join(struct.pack(">HHHII", *place) for place in places)
        locations = _full_box(b"iloc", b"\x44\0" + struct.pack(">H", 2) + extents)
        meta = _full_box(b"meta", handler + primary + locations + items + references + properties)
        return _box(b"ftyp", b"heic\0\0\0\0mif1heic") + meta

    return head(len(head(0)) + 8) + _box(b"mdat", grid + data)


def _box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


def _full_box(kind: bytes, data: bytes, version: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24) + data)


def _item(number: int, kind: bytes) -> bytes:
    return _full_box(b"infe", struct.pack(">HH", number, 0) + kind + b"\0", version=2)


def _size(width: int, height: int) -> bytes:
    return _full_box(b"ispe", struct.pack(">II", width, height))


def _box_of(image: bytes, kind: bytes) -> bytes:
    start = image.index(kind) - 4
    return image[start : start + int.from_bytes(image[start : start + 4], "big")]
