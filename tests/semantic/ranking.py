"""Measures of retrieval: ranks and recall."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from tests.semantic.demo_model import Vectors


def ranks(queries: Vectors, gallery: Vectors, relevant: Sequence[Collection[int]]) -> list[int]:
    """For each query, how many of the gallery rank before the first relevant one, by exact cosine."""
    order = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")
    return [
        next(rank for rank, item in enumerate(found) if item in wanted)
        for found, wanted in zip(order, relevant, strict=True)
    ]


def recall(found_ranks: Sequence[int], at: int) -> float:
    """The share of queries with a relevant result among the first `at`."""
    return sum(rank < at for rank in found_ranks) / len(found_ranks)
