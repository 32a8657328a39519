"""Opens TIFF files: chooses the page to read, and handles pixels that Pillow reads wrongly or not at all."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import ImageFile, TiffImagePlugin

from sidecar.errors import PictureRejected

_MAX_PAGES = 64
_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _SUB_DIRECTORIES = 254, 255, 330
_PHOTOMETRIC, _BITS, _SAMPLE_FORMAT, _COMPRESSION = 262, 258, 339, 259
_MAX_SAMPLE_VALUE, _LARGEST_SAMPLE_VALUE = 281, 341
_DNG_VERSION = 50706
_RAW_PHOTOMETRICS = {32803, 34892}
_REDUCED, _MASK = 1, 4
_WEBP = 50001  # the libtiff in Pillow's wheels is built without it
_PLANES = 284
_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES = 273, 279, 324, 325

# Additions to Pillow's table of modes and raw modes: (sample format, bits) → little endian, big endian. Pillow takes
# unsigned 32 bits for signed, and lacks the others.
_MORE_KINDS: dict[tuple[int, int], tuple[tuple[str, str], tuple[str, str]]] = {
    (1, 16): (("I;16", "I;16"), ("I;16B", "I;16B")),
    (2, 16): (("I", "I;16S"), ("I", "I;16BS")),
    (1, 32): (("F", "F;32"), ("F", "F;32B")),
    (2, 32): (("I", "I;32S"), ("I", "I;32BS")),
    (3, 32): (("F", "F;32F"), ("F", "F;32BF")),
    (3, 64): (("F", "F;64F"), ("F", "F;64BF")),
    (1, 12): (("I;16", "I;12"), ("I;16", "I;12")),
}
_NATIVE = {
    "F;32": "F;32N",
    "F;32B": "F;32N",
    "F;32F": "F;32NF",
    "F;32BF": "F;32NF",
    "F;64F": "F;64NF",
    "F;64BF": "F;64NF",
    "I;16S": "I;16NS",
    "I;16BS": "I;16NS",
    "I;32S": "I;32NS",
    "I;32BS": "I;32NS",
}
"""Raw modes in native byte order, in which libtiff hands samples to Pillow."""

for (_format, _bits), _modes in _MORE_KINDS.items():
    for _order, _mode in zip((b"II", b"MM"), _modes, strict=True):
        for _photometric in (0, 1):
            TiffImagePlugin.OPEN_INFO[_order, _photometric, (_format,), 1, (_bits,), ()] = _mode


@dataclass(frozen=True, slots=True)
class TiffPage:
    """One picture of a TIFF file, not yet loaded. `white_is_zero`: the samples are inverted, which Pillow ignores.
    `white`: the value of white, if the file states it. `integers`: samples are integers, not floats."""

    picture: ImageFile.ImageFile
    white_is_zero: bool
    white: float | None
    integers: bool


def open_page(image: bytes) -> TiffPage:
    """The first page, or sub-page of the first, that is neither a thumbnail nor a mask; else the first page.

    Raises PictureRejected for unsupported kinds, and what Pillow raises about damage.
    """
    offset, tags = _choose_page(image)
    if _is_raw(tags):
        message = "Camera raw pictures (DNG and others in TIFF) are not read; develop it to JPEG or TIFF."
        raise PictureRejected("unsupported_format", message)
    try:
        picture = TiffImagePlugin.TiffImageFile(io.BytesIO(_put_directory_first(image, offset)))
    except (SyntaxError, LookupError) as error:
        raise _unsupported(tags) from error
    if _planes_are_deep(picture, tags) or _has_signed_bytes(tags):
        raise _unsupported(tags)
    _unpack_in_native_order(picture)
    deep = picture.mode == "F" or picture.mode.startswith("I")
    integers = 3 not in _numbers(tags.get(_SAMPLE_FORMAT))
    return TiffPage(picture, deep and tags.get(_PHOTOMETRIC) == 0, _white(tags), integers)


def _is_raw(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    return _DNG_VERSION in tags or tags.get(_PHOTOMETRIC) in _RAW_PHOTOMETRICS


def _has_signed_bytes(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    """True for signed samples of up to 8 bits, which Pillow takes for unsigned."""
    return 2 in _numbers(tags.get(_SAMPLE_FORMAT)) and max(_numbers(tags.get(_BITS)), default=1) <= 8


def find_unsupported_compression(image: bytes) -> PictureRejected | None:
    """The error for a file whose compression libtiff may have been built without; None for other files.

    For a file that libtiff failed to decompress.
    """
    try:
        _, tags = _choose_page(image)
    except SyntaxError:
        return None
    return _unsupported(tags) if tags.get(_COMPRESSION) == _WEBP else None


def _unsupported(tags: TiffImagePlugin.ImageFileDirectory_v2) -> PictureRejected:
    """The error for a kind of TIFF that is not read, with the tags that describe it."""
    parts = {
        "PhotometricInterpretation": tags.get(_PHOTOMETRIC),
        "BitsPerSample": tags.get(_BITS),
        "SampleFormat": tags.get(_SAMPLE_FORMAT),
        "Compression": tags.get(_COMPRESSION),
        "PlanarConfiguration": tags.get(_PLANES),
    }
    kind = ", ".join(f"{name} {_format_value(value)}" for name, value in parts.items() if value is not None)
    message = f"TIFF pictures with {kind} are not read; save it with 8 or 16 unsigned bits for each sample."
    return PictureRejected("unsupported_format", message)


def _format_value(value: object) -> str:
    return "/".join(str(part) for part in (value if isinstance(value, tuple) else (value,)))


def _choose_page(image: bytes) -> tuple[int, TiffImagePlugin.ImageFileDirectory_v2]:
    """Offset and tags of the page to read."""
    pages = list(_directories(image, _first_offset(image)))
    if not pages:
        raise SyntaxError("it has no directory")
    below = [
        page
        for _, tags in pages[:1]
        for offset in _numbers(tags.get(_SUB_DIRECTORIES))[:_MAX_PAGES]
        for page in _directories(image, offset, at_most=1)
    ]
    return next((page for page in pages + below if _is_whole_picture(page[1])), pages[0])


def _first_offset(image: bytes) -> int:
    order = "little" if image.startswith(b"II") else "big"
    return int.from_bytes(image[8:16] if _is_big(image) else image[4:8], order)  # type: ignore[arg-type]


def _is_big(image: bytes) -> bool:
    return image[:4] in (b"II+\0", b"MM\0+")


def _directories(
    image: bytes, offset: int, at_most: int = _MAX_PAGES
) -> Iterator[tuple[int, TiffImagePlugin.ImageFileDirectory_v2]]:
    """The chain of directories, each with its offset in the file, up to the first invalid one."""
    file, seen = io.BytesIO(image), set[int]()
    while offset and offset not in seen and len(seen) < at_most:
        seen.add(offset)
        directory = TiffImagePlugin.ImageFileDirectory_v2(image[: 16 if _is_big(image) else 8])
        try:
            file.seek(offset)
            directory.load(file)
        except (OSError, ValueError, OverflowError, struct.error):
            return
        if directory:
            yield offset, directory
        offset = directory.next


def _is_whole_picture(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    kind = tags.get(_SUBFILE_TYPE, 0)
    return not (isinstance(kind, int) and kind & (_REDUCED | _MASK)) and tags.get(_OLD_SUBFILE_TYPE) != 2


def _put_directory_first(image: bytes, offset: int) -> bytes:
    """The file with the directory at `offset` as its first, the only one that Pillow opens."""
    if offset == _first_offset(image):
        return image
    order = "<" if image.startswith(b"II") else ">"
    if _is_big(image):
        return image[:8] + struct.pack(order + "Q", offset) + image[16:]
    return image[:4] + struct.pack(order + "L", offset) + image[8:]


def _planes_are_deep(picture: ImageFile.ImageFile, tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    """True for separate planes of more than 8 bits that Pillow decodes without libtiff: it reads them as 8 bits."""
    by_itself = len(picture.getbands()) > 1 and any(tile.codec_name != "libtiff" for tile in picture.tile)
    return by_itself and tags.get(_PLANES) == 2 and max(_numbers(tags.get(_BITS)), default=1) > 8


def _unpack_in_native_order(picture: ImageFile.ImageFile) -> None:
    for index, tile in enumerate(picture.tile):
        if tile.codec_name == "libtiff" and isinstance(tile.args, tuple) and tile.args[0] in _NATIVE:
            picture.tile[index] = tile._replace(args=(_NATIVE[tile.args[0]], *tile.args[1:]))


def _white(tags: TiffImagePlugin.ImageFileDirectory_v2) -> float | None:
    """The value of white, if the file states it or has 12 bits."""
    values = _numbers(tags.get(_MAX_SAMPLE_VALUE)) or _numbers(tags.get(_LARGEST_SAMPLE_VALUE))
    if values and max(values) > 0:
        return float(max(values))
    return 4095.0 if tags.get(_BITS) == (12,) else None


def _numbers(value: object) -> list[int]:
    values = value if isinstance(value, tuple) else (value,)
    return [number for number in values if isinstance(number, int)]


def is_truncated(image: bytes) -> bool:
    """True if the file ends before its first directory, or before the pixels of the chosen page."""
    if len(image) < 8 or _first_offset(image) + 2 > len(image):
        return True
    try:
        _, tags = _choose_page(image)
    except SyntaxError:
        return True
    starts = _numbers(tags.get(_STRIP_OFFSETS)) or _numbers(tags.get(_TILE_OFFSETS))
    lengths = _numbers(tags.get(_STRIP_BYTES)) or _numbers(tags.get(_TILE_BYTES))
    return any(start + length > len(image) for start, length in zip(starts, lengths, strict=False))
