"""Writes files that Pillow cannot write: TIFF with any kind of sample, PNG with any chunks, HEIC."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_chunks(image: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and data of each chunk."""
    chunks, position = [], len(PNG_SIGNATURE)
    while position < len(image):
        length = int.from_bytes(image[position : position + 4], "big")
        chunks.append((image[position + 4 : position + 8], image[position + 8 : position + 8 + length]))
        position += 12 + length
    return chunks


def write_png(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    return PNG_SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_with(image: bytes, *added: tuple[bytes, bytes], before: bytes = b"IDAT") -> bytes:
    """The file with `chunks` inserted before the first chunk of a kind."""
    chunks = png_chunks(image)
    place = [kind for kind, _ in chunks].index(before)
    return write_png([*chunks[:place], *added, *chunks[place:]])


def png_of_samples(samples: NDArray[Any], bits: int, *added: tuple[bytes, bytes]) -> bytes:
    """`samples` is (height, width) grey or (height, width, 3), with `bits` bits each (1 to 16)."""
    height, width = samples.shape[:2]
    colour_type = 0 if samples.ndim == 2 else 2
    if bits == 16:
        lines = [line.astype(">u2").tobytes() for line in samples]
    elif bits == 8:
        lines = [line.astype(np.uint8).tobytes() for line in samples]
    else:
        lines = [pack_bits(line, bits) for line in samples]
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + line for line in lines))
    return write_png([(b"IHDR", header), *added, (b"IDAT", pixels), (b"IEND", b"")])


def pack_bits(values: NDArray[np.generic], bits: int) -> bytes:
    """Most significant bit first, padded to a whole byte."""
    digits = "".join(f"{int(value):0{bits}b}" for value in values.reshape(-1))
    digits += "0" * (-len(digits) % 8)
    return int(digits, 2).to_bytes(len(digits) // 8, "big")


@dataclass(frozen=True)
class TiffPage:
    """`samples` is (height, width) or (height, width, bands) of the stored type; 12-bit samples are packed."""

    samples: NDArray[Any]
    photometric: int = 1
    tags: dict[int, int] = field(default_factory=dict)
    bits: int | None = None
    deflated: bool = False
    below: Sequence[TiffPage] = ()
    planes: bool = False


def write_tiff(pages: Sequence[TiffPage], order: Literal["<", ">"] = "<") -> bytes:
    file = io.BytesIO()
    file.write((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    link = 4
    for page in pages:
        link = _write_page(file, page, order, link)
    return file.getvalue()


def _write_page(file: io.BytesIO, page: TiffPage, order: Literal["<", ">"], link: int) -> int:
    """Append the page and point to it from `link`; returns the position of the pointer to the next page."""
    children = []
    for child in page.below:
        here = file.tell()
        file.write(bytes(4))
        _write_page(file, child, order, here)
        children.append(struct.unpack_from(order + "I", file.getvalue(), here)[0])
    strips = [_append(file, strip) for strip in _strips(page, order)]
    entries = _entries(page, strips)
    if children:
        entries[330] = (4, children)
    place = _append(file, b"")[0]
    tail = place + 2 + 12 * len(entries) + 4
    head, extra = struct.pack(order + "H", len(entries)), b""
    for tag, (kind, values) in sorted(entries.items()):
        data = struct.pack(order + {3: "H", 4: "I"}[kind] * len(values), *values)
        if len(data) > 4:
            head += struct.pack(order + "HHII", tag, kind, len(values), tail + len(extra))
            extra += data
        else:
            head += struct.pack(order + "HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    file.write(head + bytes(4) + extra)
    end = file.tell()
    file.seek(link)
    file.write(struct.pack(order + "I", place))
    file.seek(end)
    return tail - 4


def _strips(page: TiffPage, order: Literal["<", ">"]) -> list[bytes]:
    if page.bits is not None and page.bits % 8:
        raw = [b"".join(pack_bits(line, page.bits) for line in page.samples)]
    else:
        stored = page.samples.astype(page.samples.dtype.newbyteorder(order))
        planes = np.moveaxis(stored, -1, 0) if page.planes else [stored]
        raw = [np.ascontiguousarray(plane).tobytes() for plane in planes]
    return [zlib.compress(strip) for strip in raw] if page.deflated else raw


def _entries(page: TiffPage, strips: list[tuple[int, int]]) -> dict[int, tuple[int, list[int]]]:
    height, width = page.samples.shape[:2]
    bands = 1 if page.samples.ndim == 2 else page.samples.shape[2]
    bits = page.bits or page.samples.dtype.itemsize * 8
    sample_format = {"u": 1, "i": 2, "f": 3}[page.samples.dtype.kind]
    entries = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * bands),
        259: (3, [8 if page.deflated else 1]),
        262: (3, [page.photometric]),
        273: (4, [offset for offset, _ in strips]),
        277: (3, [bands]),
        278: (4, [height]),
        279: (4, [length for _, length in strips]),
        284: (3, [2 if page.planes else 1]),
        339: (3, [sample_format] * bands),
    }
    return {**entries, **{tag: (4 if tag == 254 else 3, [value]) for tag, value in page.tags.items()}}


def _append(file: io.BytesIO, data: bytes) -> tuple[int, int]:
    """Append at an even offset, as TIFF requires; returns offset and length."""
    file.seek(0, io.SEEK_END)
    file.write(bytes(file.tell() % 2))
    place = file.tell()
    file.write(data)
    return place, len(data)


def write_heic(picture: Image.Image, *others: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    heif = pillow_heif.from_pillow(picture)
    for other in others:
        heif.add_from_pillow(other)
    heif.save(file, **options)
    return file.getvalue()
