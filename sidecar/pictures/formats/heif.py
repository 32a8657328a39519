"""Opens HEIC and HEIF files through libheif, as Pillow pictures.

pi-heif instead of pillow-heif: both are one project under BSD-3-Clause, but the wheels of pi-heif contain decoders only
(libheif and libde265, LGPL), while those of pillow-heif include the encoder x265, which is GPL.

libheif itself applies `irot` and `imir`, and scales 10 and 12 bits to 8. It has limits of its own (boxes, tiles,
pixels, bytes per block) besides the limits of the decoder process.
"""

from __future__ import annotations

import io
import resource

from pi_heif import HeifImageFile, options
from PIL import ImageFile

# One thread: the stack of each counts against the address space, and there are as many processes as CPUs.
options.DECODE_THREADS = 1
# Auxiliary images, which would be parsed and never used.
options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False

_BYTES_PER_PIXEL = 8
"""Peak address space, measured with 96 million pixels: the planes, their RGB, and Pillow's copy."""


def open_heif(image: bytes) -> ImageFile.ImageFile:
    """The primary picture, or the first of a sequence. Raises SyntaxError if libheif finds none."""
    picture: ImageFile.ImageFile = HeifImageFile(io.BytesIO(image))
    return picture


def exceeds_memory_limit(size: tuple[int, int]) -> bool:
    """True if a picture that failed to decode may have been too large for this process's address space.

    libde265 reports both that and damage as the same error.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return limit != resource.RLIM_INFINITY and size[0] * size[1] * _BYTES_PER_PIXEL > limit
