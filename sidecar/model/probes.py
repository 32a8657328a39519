"""Fixed inputs of the fingerprint, the self-test and the golden vectors. Imports no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Their token ids are part of the fingerprint, so they must never change: upper case, punctuation, entities, accents,
# other scripts, an empty text, and one longer than any context.
FINGERPRINT_TEXTS = (
    "A photo of two cats, sleeping on a pink couch.",
    "Don't panic: C++ costs 50% less &amp; “works” — naïve café",
    "猫の写真 фото кота 123",
    "",
    "one two three four five six seven eight nine ten " * 10,
)

SELF_TEST_TEXTS = (
    "a photo of a cat",
    "Red leather shoes, size 42 (new!)",
    "a wide valley with a river, seen from a mountain at sunrise, and every word of this sentence counts " * 2,
)


def draw_probe_views(view_size: int) -> NDArray[np.uint8]:
    """Two very different pictures, (2, view_size, view_size, 3) uint8: ramps with a disc, and stripes.

    Drawn by integer arithmetic only, so that they are the same on every machine.
    """
    rows, columns = np.mgrid[0:view_size, 0:view_size].astype(np.int64)
    across, down = columns * 255 // (view_size - 1), rows * 255 // (view_size - 1)
    centre = view_size // 2
    disc = (rows - centre) ** 2 + (columns - centre) ** 2 < (view_size // 4) ** 2
    first = np.stack([across, down, np.where(disc, 230, 40)], axis=-1)
    stripes = (columns * 8 // view_size) % 2 * 200
    second = np.stack([stripes, 255 - down, (across + down) // 2], axis=-1)
    return np.stack([first, second]).astype(np.uint8)
