"""JPEG files that lack their end: whether only the marker is missing, or pixels too.

libjpeg fills what is missing with grey and says so only in a warning that Pillow does not pass on. But what it fills in
depends on what follows: a picture whose pixels are all there comes out the same whatever is appended.
"""

from __future__ import annotations

import re

END = b"\xff\xd9"


def _filler(bits: bytes) -> bytes:
    """The bits, also behind restart markers: libjpeg skips all that stands before the next one."""
    return bits + b"".join(b"\xff" + bytes([0xD0 + number]) + bits for number in range(8))


FILLERS = (b"", _filler(b"\x55\xaa" * 64), _filler(b"\xd3\x2c" * 64), _filler(b"\xfe\x91" * 64))
"""What may follow the last pixel. After an end marker alone libjpeg assumes zeros; some bits decode to the same."""

_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_COEFFICIENTS = range(64)


def append_end(image: bytes, filler: bytes = b"") -> bytes:
    return image.rstrip(b"\xff") + filler + END


def has_all_scans(image: bytes) -> bool:
    """Whether each component was begun, and each coefficient of a progressive picture came in all its bits."""
    components: set[int] = set()
    missing: dict[tuple[int, int], int] = {}  # bits that are still to come, by component and coefficient
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
    count = segment[0]
    if len(segment) < 4 + 2 * count:
        return
    first, last, approximation = segment[1 + 2 * count : 4 + 2 * count]
    for component in segment[1 : 1 + 2 * count : 2]:
        for coefficient in range(first, last + 1) if progressive else range(1):
            missing[component, coefficient] = approximation & 0xF if progressive else 0


def is_truncated(image: bytes) -> bool:
    """Whether the file does not end with the marker of its end, which zeros may follow."""
    return not image.rstrip(b"\0").endswith(END)
