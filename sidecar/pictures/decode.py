"""Decodes image files to pixels, or raises a PictureRejected that says why not. Runs in decoder processes."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import TypeAlias

from PIL import Image, ImageChops, ImageFile, features

from sidecar.errors import PictureRejected
from sidecar.pictures.formats.deep_colour import decode_low_bytes, opacity_mask, scale_twelve_bits, uses_twelve_bits
from sidecar.pictures.formats.heif import exceeds_memory_limit
from sidecar.pictures.formats.jpeg import FILLERS, append_end, has_all_scans
from sidecar.pictures.formats.non_pictures import identify_non_picture
from sidecar.pictures.formats.png import strip_animation, strip_checksum
from sidecar.pictures.formats.readers import OpenedPicture, is_truncated, open_picture
from sidecar.pictures.formats.signatures import SUPPORTED_FORMATS, detect_format
from sidecar.pictures.formats.tiff import find_unsupported_compression
from sidecar.pictures.pixels import Pixels, Reduced, to_pixels

_ADVICE = "convert it to JPEG or PNG."

_UNSUPPORTED_PREFIXES = (
    "Unsupported feature",
    "Unsupported file-type",
    "Error while loading plugin",
    "Unsupported BMP",
)
_UNKNOWN_CODEC = "not identified by"  # for HEIC: a codec unknown to libheif; for other formats: damage
_UNSUPPORTED_WORDS = ("Security limit exceeded", "unsupported or non-existing")
_SIZE_BEYOND_LIBHEIF = re.compile(r"Image size (\d+)x(\d+) exceeds")

AVAILABLE_FORMATS = [name for name in SUPPORTED_FORMATS if name != "AVIF" or features.check("avif")]

DECODING_ERRORS = (
    *(OSError, EOFError, struct.error, zlib.error),
    *(SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError),
)
"""What Pillow and its codecs raise about invalid data."""


ChooseReduction: TypeAlias = Callable[[int, int], int]
"""The factor by which a picture of that width and height may be reduced; the same if it is turned on its side."""

_DRAFTS = (8, 4, 2)
"""The factors by which libjpeg reduces while it decodes."""


def keep_size(_width: int, _height: int) -> int:
    """Reduces nothing."""
    return 1


def decode_rgb(image: bytes, max_pixels: int) -> Image.Image:
    """As `decode_pixels`, with colours converted to sRGB."""
    return decode_pixels(image, max_pixels).rgb()


def decode_pixels(image: bytes, max_pixels: int, choose_reduction: ChooseReduction = keep_size) -> Pixels:
    """The picture upright, opaque and 8 bits deep. docs/pictures.md says which one is taken if a file has several.

    At most `max_pixels` are decoded, counted before they are reduced. A JPEG is reduced while it is decoded, any other
    picture afterwards; which files are rejected, and why, does not depend on it. Raises PictureRejected, and
    MemoryError if memory is short.
    """
    with warnings.catch_warnings():
        # Pillow warns about damage it can repair, and about sizes, which are checked here.
        warnings.simplefilter("ignore")
        name = _detect_readable_format(image)
        try:
            opened, read, stored = _load(image, name, max_pixels, choose_reduction)
            picture = _restore_low_bytes(opened, read, name) if opened.deep_colour else opened.picture
            pixels = to_pixels(picture, opened.profile, opened.samples, stored)
            remaining = choose_reduction(*pixels.geometry.size) // pixels.geometry.factor
            return pixels.reduce(remaining) if remaining > 1 else pixels
        except PictureRejected:
            raise
        except DECODING_ERRORS as error:
            if size := _SIZE_BEYOND_LIBHEIF.search(str(error)):
                _check_pixels((int(size[1]), int(size[2])), max_pixels)
            raise _translate_error(error, image, name) from error


def _detect_readable_format(image: bytes) -> str:
    """The name of a readable format. Raises PictureRejected that names the format or the non-picture."""
    name = detect_format(image)
    if name in AVAILABLE_FORMATS:
        return name
    if name is not None:
        raise PictureRejected(
            "unsupported_format", f"{name} pictures are not read; convert it to {_join_format_names()}."
        )
    mistaken = identify_non_picture(image)
    if mistaken is None:
        raise PictureRejected("not_a_picture", f"{_describe(image)}; send {_join_format_names()}.")
    what, advice = mistaken
    raise PictureRejected("not_a_picture", f"The {len(image):,} bytes are {what}. {advice}.")


def _load(
    image: bytes, name: str, max_pixels: int, choose_reduction: ChooseReduction
) -> tuple[OpenedPicture, bytes, Reduced | None]:
    """The loaded picture, the bytes it was loaded from, and how it was reduced, if it was.

    The bytes are a repaired copy of `image` if only metadata is damaged. What cannot be loaded reduced is loaded whole:
    libjpeg reduces no lossless JPEG, and that a damaged one lacks no pixels shows in all of them only.
    """
    opened = open_picture(image, name)
    _check_pixels(opened.picture.size, max_pixels)
    reduced = _draft(opened.picture, choose_reduction) if name == "JPEG" else None
    try:
        opened.seek_first_frame()
        opened.picture.load()
    except DECODING_ERRORS as error:
        if name == "HEIC" and exceeds_memory_limit(opened.picture.size):
            raise MemoryError(str(error)) from error
        if opened.skips_default_image:
            return _load(strip_animation(image), name, max_pixels, choose_reduction)
        if reduced is not None:
            return _load(image, name, max_pixels, keep_size)
        whole = _load_damaged(image, name)
        if whole is None:
            raise
        return *whole, None
    return opened, image, reduced


def _draft(picture: ImageFile.ImageFile, choose_reduction: ChooseReduction) -> Reduced | None:
    """Has an opened JPEG reduced while it is loaded, by as much of the chosen factor as libjpeg can."""
    width, height = picture.size
    chosen = min(choose_reduction(width, height), width, height)  # of a narrower picture, no whole pixel would be left
    factor = next((factor for factor in _DRAFTS if factor <= chosen), 1)
    if factor == 1:
        return None
    picture.draft(None, (width // factor, height // factor))
    return Reduced((width, height), factor)


def _load_damaged(image: bytes, name: str) -> tuple[OpenedPicture, bytes] | None:
    """Loads a picture whose pixels are complete but followed by damage; None if they are not complete."""
    if name == "JPEG":
        return _load_jpeg_without_end(image)
    if name == "PNG" and (unchecked := strip_checksum(image)) is not None:
        opened = open_picture(unchecked, name)
        opened.picture.load()
        return opened, unchecked
    return None


def _restore_low_bytes(opened: OpenedPicture, image: bytes, name: str) -> Image.Image:
    """The picture, decoded a second time for the lower 8 of 16 bits if transparency or brightness depends on them."""
    picture = opened.picture
    transparent = picture.info.get("transparency")
    twelve_bits = uses_twelve_bits(picture)
    if not twelve_bits and not isinstance(transparent, tuple):
        return picture
    again = open_picture(image, name)
    again.seek_first_frame()
    lower = again.picture
    decode_low_bytes(lower)
    lower.load()
    pixels: Image.Image = scale_twelve_bits(picture, lower) if twelve_bits else picture
    if isinstance(transparent, tuple):
        mask = opacity_mask(picture, lower, transparent)
        pixels = Image.merge("RGBA", (*pixels.split(), mask))
    pixels.info, pixels.format = picture.info, picture.format
    return pixels


def _load_jpeg_without_end(image: bytes) -> tuple[OpenedPicture, bytes] | None:
    """Loads a JPEG that lacks only its end marker; None if pixels are missing too."""
    if not has_all_scans(image):
        return None
    opened, *others = (open_picture(append_end(image, filler), "JPEG") for filler in FILLERS)
    opened.picture.load()
    for other in others:
        other.picture.load()
        if ImageChops.difference(opened.picture, other.picture).getbbox() is not None:
            return None
    return opened, image


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise PictureRejected(
            "too_many_pixels",
            f"The picture has {width} x {height} = {width * height:,} pixels; "
            f"at most {max_pixels:,} are read (MAX_IMAGE_PIXELS). Scale it down.",
        )


def _translate_error(error: Exception, image: bytes, name: str) -> Exception:
    """The PictureRejected or MemoryError for what Pillow or a codec raised."""
    detail = str(error)
    if _is_unsupported(detail) or (name == "HEIC" and detail.startswith(_UNKNOWN_CODEC)):
        return PictureRejected("unsupported_format", f"{name} pictures of this kind are not read ({detail}); {_ADVICE}")
    if _lacks_memory(detail.lower()):
        return MemoryError(detail)
    if name == "TIFF" and (refusal := find_unsupported_compression(image)) is not None:
        return refusal
    what = f"The {name} file of {len(image):,} bytes"
    if is_truncated(image, name):
        return PictureRejected("truncated_picture", f"{what} is cut off, its end is missing ({detail}); send it whole.")
    return PictureRejected("truncated_picture", f"{what} is damaged ({detail}); save it again.")


def _is_unsupported(detail: str) -> bool:
    """True for libheif's messages about missing codecs, unsupported features and its own limits."""
    return detail.startswith(_UNSUPPORTED_PREFIXES) or any(words in detail for words in _UNSUPPORTED_WORDS)


def _lacks_memory(detail: str) -> bool:
    """libheif also reports a failed allocation for a picture with an invalid size."""
    return "out of memory" in detail or ("memory allocation" in detail and "invalid image size" not in detail)


def _describe(image: bytes) -> str:
    if not image:
        return "The picture is empty (0 bytes)"
    if len(image) == 1:
        return f"The single byte {image!r} is not a picture"
    return f"The {len(image):,} bytes are not a picture (they begin with {image[:12]!r})"


def _join_format_names() -> str:
    return f"{', '.join(AVAILABLE_FORMATS[:-1])} or {AVAILABLE_FORMATS[-1]}"


def read_size(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, before any EXIF rotation, from the first bytes of a file. Decodes no pixels.

    None if the bytes are not a readable picture, or if the format (WebP, AVIF, some TIFF) needs the whole file.
    """
    name = detect_format(head)
    if name not in AVAILABLE_FORMATS:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return open_picture(head, name).picture.size
        except (PictureRejected, *DECODING_ERRORS):
            return None
