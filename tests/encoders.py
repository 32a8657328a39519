"""Encoders without torch, for tests: equal content gives equal vectors, different content different ones."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PairScale, PreparedText, TextPrefix

CONTEXT_LENGTH = 64
SPOILT_WORD = "overflow"
SPOILT_PIXEL = (0, 0, 0)  # a view that is all black
_UNKNOWN, _CHEROKEE = 2, re.compile("[\u13a0-\u13ff\uab70-\uabbf]")


class HashEncoder:
    """An Encoder of unit vectors from a hash of the content and of `model_id`: each model id is its own vector space.

    A token is a lower-cased word; texts with the same first 64 words have the same vector, as with a real model. All
    words in Cherokee are the same unknown token. `calls` has the number of texts or views of every call.
    """

    def __init__(self, model_id: str = "hash", *, dimensions: int = 1152, view_size: int = 32) -> None:
        self.model_id = model_id
        self.dimensions = dimensions
        self.view_size = view_size
        self.fingerprint = f"{model_id}-{dimensions}-{view_size}"
        self.pair_scale: PairScale | None = PairScale(scale=100.0, bias=-10.0)
        self.calls: list[int] = []

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        return [_prepare(text) for text in texts]

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        return self._encode(text.token_ids.tobytes() for text in texts)

    def encode_views(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert views.dtype == np.uint8, views.dtype
        assert views.shape[1:] == (self.view_size, self.view_size, 3), views.shape
        return self._encode(view.tobytes() for view in views)

    def vector_of(self, text: str) -> NDArray[np.float32]:
        """(dimensions,) float32: the expected vector of a row or a query with `text`."""
        return self._vector(_prepare(text).token_ids.tobytes())

    def _encode(self, contents: Iterable[bytes]) -> NDArray[np.float32]:
        vectors = np.stack([self._vector(content) for content in contents])
        self.calls.append(len(vectors))
        return vectors

    def _vector(self, content: bytes) -> NDArray[np.float32]:
        stream = hashlib.shake_256(self.fingerprint.encode() + b"\0" + content).digest(self.dimensions)
        vector = np.frombuffer(stream, np.uint8).astype(np.float32) - np.float32(127.5)
        return vector / np.linalg.norm(vector)


class TimedEncoder(HashEncoder):
    """A HashEncoder that takes `view_ms` per text or view while the CPU is idle, as a GPU would."""

    def __init__(self, view_ms: float, model_id: str = "timed", *, dimensions: int = 1152, view_size: int = 32) -> None:
        super().__init__(model_id, dimensions=dimensions, view_size=view_size)
        self.view_ms = view_ms

    def _encode(self, contents: Iterable[bytes]) -> NDArray[np.float32]:
        began = time.perf_counter()
        vectors = super()._encode(contents)
        ends = began + len(vectors) * self.view_ms / 1000
        time.sleep(max(ends - time.perf_counter(), 0))
        return vectors


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


def _prepare(text: str) -> PreparedText:
    words = text.lower().split()
    token_ids = np.zeros(CONTEXT_LENGTH, np.int64)
    for position, word in enumerate(words[:CONTEXT_LENGTH]):
        digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
        token_ids[position] = _UNKNOWN if _CHEROKEE.search(word) else int.from_bytes(digest) >> 1
    tokens = min(len(words), CONTEXT_LENGTH)
    return PreparedText(
        token_ids,
        truncated=len(words) > CONTEXT_LENGTH,
        blank=not words,
        tokens=tokens,
        unreadable=2 * int((token_ids == _UNKNOWN).sum()) >= max(tokens, 1),
        # The last word of a beginning may be cut off.
        is_short=isinstance(text, TextPrefix) and len(words) <= CONTEXT_LENGTH + 1,
    )
