"""Recovers the lower 8 bits of 16-bit colours, of which Pillow keeps only the upper 8."""

from __future__ import annotations

import sys

from PIL import Image, ImageChops, ImageFile

_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_FOUR_BITS = 15


def is_deep(picture: ImageFile.ImageFile) -> bool:
    """True if Pillow will reduce 16-bit colours to 8 bits. Call it before the pixels are loaded."""
    return bool(picture.tile) and all(_raw_mode(tile).startswith(("RGB;16", "RGBA;16")) for tile in picture.tile)


def decode_low_bytes(picture: ImageFile.ImageFile) -> None:
    """Makes Pillow decode the lower 8 bits, by declaring the opposite byte order: it keeps the byte it takes for the
    upper one."""
    for index, tile in enumerate(picture.tile):
        raw_mode = _raw_mode(tile)
        swapped = raw_mode[:-1] + _OTHER_ORDER[raw_mode[-1]]
        arguments = (swapped, *tile.args[1:]) if isinstance(tile.args, tuple) else swapped
        picture.tile[index] = tile._replace(args=arguments)


def uses_twelve_bits(upper: Image.Image) -> bool:
    """True if the brightest sample is between 256 and 4095, as in files of 12-bit cameras. Alpha is ignored."""
    return 0 < max(_brightest(band) for band in upper.split()[:3]) <= _FOUR_BITS


def _brightest(band: Image.Image) -> int:
    return max(level for level, count in enumerate(band.histogram()) if count)


def scale_twelve_bits(upper: Image.Image, lower: Image.Image) -> Image.Image:
    """Bits 4 to 11 of each sample, which are the upper 8 of 12. Alpha is unchanged."""
    bands = [
        ImageChops.add(high.point([(value & _FOUR_BITS) << 4 for value in range(256)]), low.point(_shifted))
        for high, low in zip(upper.split()[:3], lower.split()[:3], strict=True)
    ]
    return Image.merge(upper.mode, [*bands, *upper.split()[3:]])


_shifted = [value >> 4 for value in range(256)]


def opacity_mask(upper: Image.Image, lower: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    """Mode L: 0 where all 16-bit samples equal `colour`, else 255."""
    differs = Image.new("L", upper.size)
    bytes_of_colour = (*(value >> 8 for value in colour), *(value & 255 for value in colour))
    for band, value in zip((*upper.split(), *lower.split()), bytes_of_colour, strict=True):
        differs = ImageChops.lighter(differs, band.point([255 * (level != value) for level in range(256)]))
    return differs


def _raw_mode(tile: ImageFile._Tile) -> str:
    arguments = tile.args
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""
