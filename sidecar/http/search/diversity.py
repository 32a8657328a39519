"""Diversity: rows that are relevant and unlike the rows above them, by maximal marginal relevance."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sidecar.http.search.ranking import RankedRow
from sidecar.inner_products import inner_products

MAX_CANDIDATES = 1000  # their similarities are a matrix: 8 MB

_CANDIDATES_PER_ROW = 4
_LEAST_CANDIDATES = 50
_INLINE_MULTIPLICATIONS = 3_000_000  # 50 vectors of 1,152 numbers: 1.3 ms
_EQUAL = 1e-9  # a span of similarities below which they are rounding


class DiverseOrder(NamedTuple):
    """The places of the chosen rows, in order, and each one's highest cosine with a row chosen before it.

    The cosine is NaN for the first row, and for rows that have no vector or none before them that has one.
    """

    places: list[int]
    similarity_above: list[float]


def candidates_for(k: int, max_rows: int) -> int:
    """How many rows to choose `k` diverse ones from: four times as many, at least 50, at most `max_rows`."""
    return max(k, min(max(_CANDIDATES_PER_ROW * k, _LEAST_CANDIDATES), max_rows, MAX_CANDIDATES))


async def diversify(ranked: Sequence[RankedRow], diversity: float, k: int) -> list[RankedRow]:
    """At most `k` of the rows, which come in the order of their relevance: their place by what they were ranked by.

    That is the score of the reranker where there is one, else the fused score, else the cosine. Rows that the reranker
    could not score stay last.
    """
    scored = [each for each in ranked if each.relevance is not None]
    if not scored:
        return list(ranked[:k])
    order_of = partial(_order, scored, diversity, min(k, len(scored)))
    dimensions = max(0 if each.row.vector is None else each.row.vector.size for each in scored)
    order = order_of() if _is_small(len(scored), dimensions) else await asyncio.to_thread(order_of)
    chosen = [
        scored[place]._replace(similarity_above=None if np.isnan(similarity) else similarity)
        for place, similarity in zip(*order, strict=True)
    ]
    unscored = [each for each in ranked if each.relevance is None]
    return [*chosen, *unscored][:k]


def _order(scored: Sequence[RankedRow], diversity: float, k: int) -> DiverseOrder:
    relevance = np.array([each.relevance for each in scored], np.float64)
    return most_marginal(relevance, _stack([each.row.vector for each in scored]), diversity, k)


def most_marginal(
    relevance: NDArray[np.float64], vectors: NDArray[np.float64], diversity: float, k: int
) -> DiverseOrder:
    """Greedy maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998), with λ = 1 - `diversity`.

    Each step chooses the row with the highest λ · relevance - (1 - λ) · max similarity to a row chosen before, the
    earlier one of equals. `relevance` is (n,), `vectors` (n, dimensions) of unit length; zeros: the row has none, and
    is like no other. Both terms are scaled to 0..1 over the candidates, because their ranges differ: cosines of a text
    with pictures are low, those between pictures high, and scores of full text or a reranker are something else again.
    """
    count = len(relevance)
    has_vector = vectors.any(axis=1)
    cosines = _cosines(vectors)
    comparable = np.outer(has_vector, has_vector) & ~np.eye(count, dtype=bool)
    similarity = np.where(comparable, _scale(cosines, comparable), 0.0)
    cosines = np.where(comparable, cosines, -np.inf)
    gain = (1 - diversity) * _scale(relevance, np.ones(count, dtype=bool))
    redundancy, above, free = np.zeros(count), np.full(count, -np.inf), np.ones(count, dtype=bool)
    order = DiverseOrder([], [])
    for _ in range(k):
        place = int(np.argmax(np.where(free, gain - diversity * redundancy, -np.inf)))
        order.places.append(place)
        order.similarity_above.append(float(above[place]) if np.isfinite(above[place]) else np.nan)
        free[place] = False
        np.maximum(redundancy, similarity[place], out=redundancy)
        np.maximum(above, cosines[place], out=above)
    return order


def _cosines(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, n). Of many vectors by BLAS, a tenth of the time or less: off the event loop, which its threads may delay."""
    return inner_products(vectors, vectors) if _is_small(*vectors.shape) else vectors @ vectors.T


def _is_small(count: int, dimensions: int) -> bool:
    """Whether comparing all pairs of these vectors is short enough for the event loop."""
    return count * count * dimensions <= _INLINE_MULTIPLICATIONS


def _scale(numbers: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`numbers` so that the lowest of those `counted` is 0 and the highest 1; all 0 where these are equal."""
    if not counted.any():
        return np.zeros_like(numbers)
    low, high = float(numbers[counted].min()), float(numbers[counted].max())
    return np.zeros_like(numbers) if high - low < _EQUAL else (numbers - low) / (high - low)


def _stack(vectors: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float64]:
    """(n, dimensions), with zeros for None."""
    dimensions = next((len(vector) for vector in vectors if vector is not None), 1)
    return np.stack([np.zeros(dimensions) if vector is None else vector for vector in vectors]).astype(np.float64)
