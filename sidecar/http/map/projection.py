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
    give the same picture. Blocks: 2,000 vectors of 1,152 numbers take 2 s of one CPU.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    points, shares = np.zeros((len(vectors), 2)), np.zeros(2)
    # From the smaller of the two Gram matrices, which have the same spectrum: a third of the time of the vectors' own
    # decomposition, and none of the other axes.
    is_wide = centred.shape[0] < centred.shape[1]
    variances, axes = np.linalg.eigh(centred @ centred.T if is_wide else centred.T @ centred)  # in ascending order
    variances = np.maximum(variances, 0.0)
    variance, shown = float(variances.sum()), min(2, len(variances))
    if variance > np.finfo(np.float32).eps:  # else all are one vector
        largest, first = variances[::-1][:shown], axes[:, ::-1][:, :shown]
        points[:, :shown] = first * np.sqrt(largest) if is_wide else centred @ first
        shares[:shown] = largest / variance
    greatest = points[np.abs(points).argmax(axis=0), [0, 1]]
    return Projection(points * np.where(greatest < 0, -1.0, 1.0), shares)
