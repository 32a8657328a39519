"""Conversion from a file's ICC profile to sRGB, the colour space that the models were trained on."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections import OrderedDict

from PIL import Image, ImageChops, ImageCms

_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_CLASSES = {"mntr", "scnr", "prtr", "spac"}
_MAX_CACHED = 16
_SAME = 2
"""Difference in levels of 255 up to which a profile's colours count as those of sRGB."""

_MIN_PROFILE_BYTES = 128


class ToSrgb:
    """A conversion of pixels of one `mode` (RGB, L or CMYK) into sRGB, mode RGB."""

    def __init__(self, transform: ImageCms.ImageCmsTransform, mode: str) -> None:
        self._transform = transform
        self.mode = mode

    def __call__(self, pixels: Image.Image) -> Image.Image:
        converted = ImageCms.applyTransform(pixels, self._transform)
        assert converted is not None  # None only for a conversion in place
        return converted

    def is_identity(self) -> bool:
        """True if every probed colour stays the same, as for a profile of sRGB."""
        if self.mode == "CMYK":
            return False
        probe = _probe(self.mode)
        difference = ImageChops.difference(self(probe), probe.convert("RGB"))
        return max(high for _, high in difference.getextrema()) <= _SAME  # type: ignore[misc]


_cache: OrderedDict[tuple[bytes, str], ToSrgb | None] = OrderedDict()


def find_conversion(profile: bytes | None, mode: str) -> ToSrgb | None:
    """The conversion for pixels of `mode`, cached. None if there is no profile, if it is sRGB, if it cannot be read,
    or if it is for another kind of pixels; browsers ignore profiles like these too.
    """
    if not profile or len(profile) < _MIN_PROFILE_BYTES or _SPACES.get(profile[16:20].decode("latin-1")) != mode:
        return None
    key = (hashlib.sha256(profile).digest(), mode)
    if key not in _cache:
        _cache[key] = _build_conversion(profile, mode)
        if len(_cache) > _MAX_CACHED:
            _cache.popitem(last=False)
    _cache.move_to_end(key)
    return _cache[key]


def _build_conversion(profile: bytes, mode: str) -> ToSrgb | None:
    """The conversion from a profile; None if it is unusable or changes nothing."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.device_class not in _CLASSES:
            return None
        # The black of print is lighter than that of a screen: without compensation it would become dark grey.
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        conversion = ToSrgb(transform, mode)
        return None if conversion.is_identity() else conversion
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _probe(mode: str) -> Image.Image:
    """A picture of sample colours: all greys, or a grid of the colour cube."""
    if mode == "L":
        return Image.frombytes("L", (256, 1), bytes(range(256)))
    steps = range(0, 256, 17)
    colours = bytes(itertools.chain.from_iterable(itertools.product(steps, repeat=3)))
    return Image.frombytes("RGB", (len(steps) ** 2, len(steps)), colours)
