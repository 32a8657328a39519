"""HEIC and HEIF through libheif, as a Pillow picture.

pi-heif and not pillow-heif: the two are one project, under BSD-3-Clause, but the wheels of the former hold decoders
alone (libheif and libde265, LGPL), while those of the latter come with the encoder x265, which is GPL.

libheif turns and mirrors by `irot` and `imir` itself, and scales 10 and 12 bits to 8. It has limits of its own (boxes,
tiles, pixels, bytes of one block); those of the process hold too.
"""

from __future__ import annotations

import io
import resource

from pi_heif import HeifImageFile, options
from PIL import ImageFile

# One thread: each has a stack that counts against the address space, and there are as many processes as CPUs.
options.DECODE_THREADS = 1
# Companions of the picture, which would only be parsed.
options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False

_BYTES_PER_PIXEL = 8
"""Of address space at the peak, measured with 96 million pixels: the planes, their RGB, and Pillow's copy."""


def open_heif(image: bytes) -> ImageFile.ImageFile:
    """Its primary picture, or the first of a sequence. Raises SyntaxError where libheif finds none."""
    picture: ImageFile.ImageFile = HeifImageFile(io.BytesIO(image))
    return picture


def exceeds_memory_limit(size: tuple[int, int]) -> bool:
    """Whether a picture that could not be decoded may have been too large for this process's address space.

    libde265 does not tell that from damage.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return limit != resource.RLIM_INFINITY and size[0] * size[1] * _BYTES_PER_PIXEL > limit
