"""Detects whether a JPEG without its end lacks only the end marker, or pixels too.

libjpeg fills missing pixels with grey and reports it only by a warning that Pillow drops. But the filling depends on
the bytes that follow: if no pixel is missing, the decoded picture is the same whatever is appended.
"""

from __future__ import annotations

import re

END = b"\xff\xd9"


def _filler(bits: bytes) -> bytes:
    """The bits, repeated behind each restart marker: libjpeg skips everything up to the next one."""
    return bits + b"".join(b"\xff" + bytes([0xD0 + number]) + bits for number in range(8))


FILLERS = (b"", _filler(b"\x55\xaa" * 64), _filler(b"\xd3\x2c" * 64), _filler(b"\xfe\x91" * 64))
"""Bytes to append in turn. After a bare end marker libjpeg assumes zeros; some other bits decode to the same pixels."""

_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_COEFFICIENTS = range(64)


def append_end(image: bytes, filler: bytes = b"") -> bytes:
    return image.rstrip(b"\xff") + filler + END


def has_all_scans(image: bytes) -> bool:
    """True if every component has a scan, and every coefficient of a progressive picture has all its bits."""
    components: set[int] = set()
    missing: dict[tuple[int, int], int] = {}  # bits not seen yet, by component and coefficient
    progressive = False
    position = 2
    while match := _MARKER.search(image, position):
        kind, start = match[1][0], match.end()
        length = int.from_bytes(image[start : start + 2], "big")
        segment = image[start + 2 : start + length]
        if kind in _FRAMES and len(segment) > 5:
            progressive = kind in _PROGRESSIVE
            components = set(segment[6::3][: segment[5]])
            coefficients = _COEFFICIENTS if progressive else range(1)
            missing = {(component, k): 1 for component in components for k in coefficients}
        elif kind == 0xDA and segment:
            _count_scan(segment, missing, progressive)
        position = start + (length if length >= 2 else 0)
    return bool(components) and not any(missing.values())


def _count_scan(segment: bytes, missing: dict[tuple[int, int], int], progressive: bool) -> None:
    """Records which bits of which coefficients a scan contains."""
    count = segment[0]
    if len(segment) < 4 + 2 * count:
        return
    first, last, approximation = segment[1 + 2 * count : 4 + 2 * count]
    for component in segment[1 : 1 + 2 * count : 2]:
        for coefficient in range(first, last + 1) if progressive else range(1):
            missing[component, coefficient] = approximation & 0xF if progressive else 0


def is_truncated(image: bytes) -> bool:
    """True if the file does not end with the end marker, apart from trailing zeros."""
    return not image.rstrip(b"\0").endswith(END)
