"""How well queries find what they are meant to find."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from tests.semantic.demo_model import Vectors


def ranks(queries: Vectors, gallery: Vectors, relevant: Sequence[Collection[int]]) -> list[int]:
    """For each query, how many of the gallery stand before the first that is relevant. Exact, by cosine."""
    order = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")
    return [
        next(rank for rank, item in enumerate(found) if item in wanted)
        for found, wanted in zip(order, relevant, strict=True)
    ]


def recall(found_ranks: Sequence[int], at: int) -> float:
    """The share of queries that find something relevant among the first `at`."""
    return sum(rank < at for rank in found_ranks) / len(found_ranks)
