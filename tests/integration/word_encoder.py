"""A toy encoder of words and colours, for the results in the cookbook."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedText
from tests.encoders import HashEncoder

_WORD = re.compile(r"\w+")
_COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class WordEncoder(HashEncoder):
    """An encoder in which texts that share words are near each other, and a picture is the name of its colour."""

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        return super().prepare_texts([" ".join(_WORD.findall(text)) for text in texts])

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        return _unit([self._sum(text.token_ids) for text in texts])

    def encode_views(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.encode_texts(self.prepare_texts([_colour_of(view) for view in views]))

    def _sum(self, token_ids: Iterable[np.int64]) -> NDArray[np.float32]:
        total: NDArray[np.float32] = np.sum([self._vector(token.tobytes()) for token in token_ids if token], axis=0)
        return total


def _colour_of(view: NDArray[np.uint8]) -> str:
    mean = view.reshape(-1, 3).mean(axis=0)
    return min(_COLOURS, key=lambda name: float(np.linalg.norm(mean - np.array(_COLOURS[name]))))


def _unit(sums: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = np.stack(sums)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
