"""Removes from PNG files the chunks for which Pillow would reject them.

Pillow reads every chunk, and rejects a picture for damaged or large metadata. Chunks that do not affect the pixels are
removed. So are the chunks of an animation, unless the default image is not one of its frames: players never show such a
default image, so the first frame is read instead.
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
    """`image` is the file to give to Pillow; `profile` the ICC profile; `bits` the depth of a sample.

    `skips_default_image`: the default image is not a frame of the animation, so the first frame is to be read.
    """

    image: bytes
    profile: bytes | None
    bits: int
    skips_default_image: bool


class _Chunk(NamedTuple):
    """A chunk of a PNG file, by its place in the file."""

    kind: bytes
    start: int  # of its data
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length + 4


def sanitise_png(image: bytes) -> SanitisedPng:
    """Removes what Pillow would reject from a file with a PNG signature. Pixels are not checked."""
    chunks = list(_read_chunks(image))
    skips_default_image = _skips_default_image(chunks)
    kept = [chunk for chunk in chunks if _is_kept(image, chunk, skips_default_image)]
    profile = next((_read_profile(image, chunk) for chunk in chunks if chunk.kind == b"iCCP"), None)
    bits = image[24] if len(image) > 24 else 8
    whole = bool(chunks) and chunks[-1].end == len(image)
    if whole and len(kept) == len(chunks):
        return SanitisedPng(image, profile, bits, skips_default_image)
    parts = [_SIGNATURE, *(image[chunk.start - 8 : chunk.end] for chunk in kept)]
    # If the last chunk of pixels is truncated, bytes of an appended end would be read as its CRC.
    if not kept or kept[-1].end <= len(image):
        parts.append(b"" if kept and kept[-1].kind == b"IEND" else _END)
    return SanitisedPng(b"".join(parts), profile, bits, skips_default_image)


def strip_animation(image: bytes) -> bytes:
    """The file with its default image alone, for a file whose frames cannot be decoded."""
    parts = (image[chunk.start - 8 : chunk.end] for chunk in _read_chunks(image) if chunk.kind not in _ANIMATION)
    return b"".join((_SIGNATURE, *parts))


def strip_checksum(image: bytes) -> bytes | None:
    """The file without the checksum (Adler-32) at the end of its compressed pixels.

    If only that checksum is wrong, zlib rejects complete pixels. None if the CRCs of the chunks show that the pixels
    are damaged.
    """
    chunks = [chunk for chunk in _read_chunks(image) if chunk.kind == b"IDAT"]
    if not chunks or chunks[-1].length <= 4 or not all(_is_intact(image, chunk) for chunk in chunks):
        return None
    last = chunks[-1]
    data = image[last.start : last.start + last.length - 4]
    return b"".join((image[: last.start - 8], struct.pack(">I", len(data)), b"IDAT", data, bytes(4), _END))


def _read_chunks(image: bytes) -> Iterator[_Chunk]:
    """The chunks up to the end of the picture, or up to the first invalid one."""
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
    """True for chunks that affect the decoded picture and are intact."""
    if chunk.kind in _PIXELS or chunk.kind == b"IEND":
        return True
    if chunk.kind in _ANIMATION:
        return skips_default_image
    if chunk.kind == b"tRNS" or (chunk.kind == b"eXIf" and chunk.length <= _MAX_METADATA_BYTES):
        return _is_intact(image, chunk)
    if chunk.kind in _TEXT and image.startswith(_ORIENTATION, chunk.start):
        # Deflate expands to at most about a thousand times the compressed length.
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
    """The profile; None if it is damaged, incomplete or larger than MAX_PROFILE_BYTES."""
    _, _, packed = image[chunk.start : chunk.end - 4].partition(b"\0")
    inflator = zlib.decompressobj()
    try:
        profile = inflator.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if inflator.eof else None


def is_truncated(image: bytes) -> bool:
    """True if the file ends before its IEND chunk."""
    chunks = list(_read_chunks(image))
    return not chunks or (chunks[-1].kind != b"IEND" and chunks[-1].end + 12 > len(image))
