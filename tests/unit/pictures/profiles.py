"""ICC profiles generated from their parameters, and conversion of pictures to them."""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Primaries = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

_D65, _D50 = (0.3127, 0.3290), (0.3457, 0.3585)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50_XYZ = (0.9642, 1.0, 0.8249)


def adobe_rgb() -> bytes:
    return rgb_profile(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 563 / 256)


def display_p3() -> bytes:
    return rgb_profile(((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), 2.2)


def prophoto() -> bytes:
    return rgb_profile(((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), 1.8, white=_D50)


def srgb() -> bytes:
    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def srgb_of_another_maker() -> bytes:
    """A profile of sRGB whose curve is a table, as in those of HP and most cameras."""
    levels = np.linspace(0, 1, 1024)
    curve = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    table = np.rint(curve * 65535).astype(">u2").tobytes()
    return rgb_profile(((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), table)


def rgb_profile(primaries: Primaries, curve: float | bytes, white: tuple[float, float] = _D65) -> bytes:
    """A display profile with a gamma, or a table of 16-bit values, as the curve of all channels."""
    columns = _adapted(primaries, white).T
    tags = {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
    tags |= {name: _curve(curve) for name in (b"rTRC", b"gTRC", b"bTRC")}
    return _profile(b"mntr", b"RGB ", b"XYZ ", {b"wtpt": _xyz(_D50_XYZ), **tags})


def grey_profile(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(_D50_XYZ), b"kTRC": _curve(gamma)})


def cmyk_profile() -> bytes:
    """A printer profile with white paper and inks as different from screen colours as real ones."""
    inks = {  # Lab of full cover, as in FOGRA39
        (0, 0, 0, 0): (100, 0, 0),
        (1, 0, 0, 0): (55, -37, -50),
        (0, 1, 0, 0): (48, 74, -3),
        (0, 0, 1, 0): (89, -5, 93),
        (1, 1, 0, 0): (24, 22, -46),
        (1, 0, 1, 0): (50, -68, 33),
        (0, 1, 1, 0): (47, 68, 48),
        (1, 1, 1, 0): (23, 0, 0),
    }
    table = b""
    for node in np.ndindex(2, 2, 2, 2):
        lightness, a, b = inks[node[0], node[1], node[2], 0] if node[3] == 0 else (8, 0, 0)
        table += bytes((round(lightness * 2.55), a + 128, b + 128))
    ramp = bytes(range(256))
    head = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = head + ramp * 4 + table + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz(_D50_XYZ), b"A2B0": lut, b"A2B1": lut})


def convert(picture: Image.Image, profile: bytes) -> Image.Image:
    """Converts a picture from sRGB to the RGB of another profile, keeping its colours."""
    converted = ImageCms.profileToProfile(
        picture, ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(profile)), outputMode="RGB"
    )
    assert converted is not None
    return converted


def _adapted(primaries: Primaries, white: tuple[float, float]) -> NDArray[np.float64]:
    """Columns: XYZ of the primaries under D50."""
    columns = np.array([_to_xyz(primary) for primary in primaries]).T
    source, target = _to_xyz(white), _to_xyz(_D50)
    scaled = columns * np.linalg.solve(columns, source)
    cones = np.diag((_BRADFORD @ target) / (_BRADFORD @ source))
    return np.asarray(np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ scaled)


def _to_xyz(chromaticity: tuple[float, float]) -> NDArray[np.float64]:
    x, y = chromaticity
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _xyz(values: NDArray[np.float64] | tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _curve(curve: float | bytes) -> bytes:
    if isinstance(curve, bytes):
        return b"curv\0\0\0\0" + struct.pack(">I", len(curve) // 2) + curve
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(curve * 256))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    offset = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", offset + len(data), len(content))
        data += padded
    head = struct.pack(">I", offset + len(data)) + b"test" + bytes((2, 0x40, 0, 0)) + kind + space + connection
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", *(round(value * 65536) for value in _D50_XYZ))
    return head.ljust(128, b"\0") + table + data
