"""An encoder some of whose vectors are invalid, like those of a real model whose numbers overflow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.encoders import HashEncoder

SPOILT_WORD = "overflow"
SPOILT_PIXEL = (0, 0, 0)  # a view that is all black


class SpoilingEncoder(HashEncoder):
    """A HashEncoder whose vectors of texts with SPOILT_WORD and views of SPOILT_PIXEL are all `bad`.

    With `broken`, every vector is.
    """

    def __init__(self, bad: float = float("nan"), *, dimensions: int = 1152) -> None:
        super().__init__("hash", dimensions=dimensions)
        self.bad = bad
        self.broken = False
        self._spoilt_token = self.prepare_texts([SPOILT_WORD])[0].token_ids[:1].tobytes()
        self._spoilt_view = bytes(self.view_size * self.view_size * len(SPOILT_PIXEL))

    def _vector(self, content: bytes) -> NDArray[np.float32]:
        if self.broken or content == self._spoilt_view or self._spoilt_token in content:
            return np.full(self.dimensions, self.bad, np.float32)
        return super()._vector(content)
