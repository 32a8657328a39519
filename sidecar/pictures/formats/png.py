"""PNG files without what Pillow would refuse them for, and what that took out.

Pillow reads every chunk, and refuses a whole picture for a damaged or large one of metadata. Here the chunks that
pixels do not depend on are left out; so are those of an animation, unless the picture that stands beside it is not part
of it: then a player never shows that picture, and the first frame counts.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MAX_PROFILE_BYTES = 16 << 20
_MAX_METADATA_BYTES = 1 << 20
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB\x60\x82"
_PIXELS = {b"IHDR", b"PLTE", b"IDAT"}
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
_TEXT = {b"iTXt", b"zTXt", b"tEXt"}
_ORIENTATION = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")


@dataclass(frozen=True, slots=True)
class SanitisedPng:
    """`image` is for Pillow. `profile` is the ICC profile. `bits` is the depth of a sample."""

    image: bytes
    profile: bytes | None
    bits: int
    skips_default_image: bool


class _Chunk(NamedTuple):
    kind: bytes
    start: int  # of its data
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length + 4


def sanitise_png(image: bytes) -> SanitisedPng:
    """Of a file that begins as a PNG does. The pixels are not looked at."""
    chunks = list(_read_chunks(image))
    skips_default_image = _skips_default_image(chunks)
    kept = [chunk for chunk in chunks if _is_kept(image, chunk, skips_default_image)]
    profile = next((_read_profile(image, chunk) for chunk in chunks if chunk.kind == b"iCCP"), None)
    bits = image[24] if len(image) > 24 else 8
    whole = bool(chunks) and chunks[-1].end == len(image)
    if whole and len(kept) == len(chunks):
        return SanitisedPng(image, profile, bits, skips_default_image)
    parts = [_SIGNATURE, *(image[chunk.start - 8 : chunk.end] for chunk in kept)]
    # Where the last chunk of pixels is cut off, an end would make its CRC of it.
    if not kept or kept[-1].end <= len(image):
        parts.append(b"" if kept and kept[-1].kind == b"IEND" else _END)
    return SanitisedPng(b"".join(parts), profile, bits, skips_default_image)


def strip_animation(image: bytes) -> bytes:
    """The picture that stands beside the frames, for one whose frames cannot be played."""
    parts = (image[chunk.start - 8 : chunk.end] for chunk in _read_chunks(image) if chunk.kind not in _ANIMATION)
    return b"".join((_SIGNATURE, *parts))


def strip_checksum(image: bytes) -> bytes | None:
    """The file without the last four bytes of its stream of pixels, the sum of what was packed.

    Where that alone is wrong, zlib refuses pixels that are all there. None where the chunks' own sums say that it is
    pixels that are damaged.
    """
    chunks = [chunk for chunk in _read_chunks(image) if chunk.kind == b"IDAT"]
    if not chunks or chunks[-1].length <= 4 or not all(_is_intact(image, chunk) for chunk in chunks):
        return None
    last = chunks[-1]
    data = image[last.start : last.start + last.length - 4]
    return b"".join((image[: last.start - 8], struct.pack(">I", len(data)), b"IDAT", data, bytes(4), _END))


def _read_chunks(image: bytes) -> Iterator[_Chunk]:
    """Up to the end of the picture, or to where the file makes no sense any more."""
    position = len(_SIGNATURE)
    while position + 8 <= len(image):
        length = int.from_bytes(image[position : position + 4], "big")
        chunk = _Chunk(image[position + 4 : position + 8], position + 8, length)
        if not chunk.kind.isalpha() or (chunk.end > len(image) and chunk.kind not in _PIXELS):
            return
        yield chunk
        if chunk.kind == b"IEND":
            return
        position = chunk.end


def _skips_default_image(chunks: list[_Chunk]) -> bool:
    kinds = [chunk.kind for chunk in chunks]
    before_pixels = kinds[: kinds.index(b"IDAT")] if b"IDAT" in kinds else []
    return b"acTL" in before_pixels and b"fcTL" not in before_pixels and b"fdAT" in kinds


def _is_kept(image: bytes, chunk: _Chunk, skips_default_image: bool) -> bool:
    if chunk.kind in _PIXELS or chunk.kind == b"IEND":
        return True
    if chunk.kind in _ANIMATION:
        return skips_default_image
    if chunk.kind == b"tRNS" or (chunk.kind == b"eXIf" and chunk.length <= _MAX_METADATA_BYTES):
        return _is_intact(image, chunk)
    if chunk.kind in _TEXT and image.startswith(_ORIENTATION, chunk.start):
        # What it would inflate to is bounded by a thousand times its length.
        return chunk.length <= (_MAX_METADATA_BYTES >> 10) * (1 if _is_packed(image, chunk) else 1024) and _is_intact(
            image, chunk
        )
    return False


def _is_packed(image: bytes, chunk: _Chunk) -> bool:
    flag = image.find(b"\0", chunk.start) + 1
    return chunk.kind == b"zTXt" or (chunk.kind == b"iTXt" and image[flag : flag + 1] != b"\0")


def _is_intact(image: bytes, chunk: _Chunk) -> bool:
    crc = zlib.crc32(image[chunk.start - 4 : chunk.end - 4])
    return image[chunk.end - 4 : chunk.end] == struct.pack(">I", crc)


def _read_profile(image: bytes, chunk: _Chunk) -> bytes | None:
    """The profile, where it is whole and of a size that makes sense."""
    _, _, packed = image[chunk.start : chunk.end - 4].partition(b"\0")
    inflator = zlib.decompressobj()
    try:
        profile = inflator.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if inflator.eof else None


def is_truncated(image: bytes) -> bool:
    """Whether the file ends before the chunk that ends it."""
    chunks = list(_read_chunks(image))
    return not chunks or (chunks[-1].kind != b"IEND" and chunks[-1].end + 12 > len(image))
