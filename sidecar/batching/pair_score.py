"""The score that a model trained with a sigmoid gives a text and a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PairScale


def pair_logits(scale: PairScale, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """scale · cosine + bias, of any shape, float32; `sigmoid` of it is the probability that the two belong together."""
    return np.asarray(scale.scale * cosines.astype(np.float64) + scale.bias, np.float32)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """From 0 to 1, of any shape, float64: float32 has no number between 0.99999994 and 1, where good scores lie."""
    small = np.exp(-np.abs(logits.astype(np.float64)))  # never overflows
    return np.asarray(np.where(logits >= 0, 1.0, small) / (1.0 + small), np.float64)
