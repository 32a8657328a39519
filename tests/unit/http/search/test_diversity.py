"""Maximal marginal relevance against a plain implementation of its formula."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sidecar.http.search.diversity import candidates_for, diversify, most_marginal
from sidecar.http.search.ranking import RankedRow
from sidecar.inner_products import inner_products
from sidecar.postgres.search import NearestRow

Numbers = NDArray[np.float64]


@st.composite
def candidates(draw: st.DrawFn) -> tuple[Numbers, Numbers]:
    """Relevance, highest first as a search returns it, and vectors of unit length, some of them equal, some missing."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, dimensions = draw(st.integers(1, 12)), draw(st.integers(2, 6))
    vectors = random.normal(size=(count, dimensions))
    vectors = vectors[random.integers(0, count, count)] if draw(st.booleans()) else vectors
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[random.random(count) < draw(st.sampled_from([0, 0.3, 1]))] = 0
    relevance = np.sort(random.normal(size=count))[::-1]
    return (np.full(count, 0.5) if draw(st.booleans()) else relevance), vectors


def scaled(values: dict[object, float]) -> dict[object, float]:
    low, high = min(values.values(), default=0), max(values.values(), default=0)
    return {key: 0.0 if high - low < 1e-9 else (value - low) / (high - low) for key, value in values.items()}


def marginal(chosen: list[int], place: int, relevance: Numbers, vectors: Numbers, diversity: float) -> float:
    """The formula, term by term."""
    rows = [row for row in range(len(vectors)) if any(vectors[row])]
    pairs: dict[object, float] = {
        (a, b): sum(x * y for x, y in zip(vectors[a], vectors[b], strict=True)) for a in rows for b in rows if a != b
    }
    similar = scaled(pairs)
    relevant = scaled(dict(enumerate(relevance.tolist())))
    most_similar = max((similar.get((place, other), 0.0) for other in chosen), default=0.0)
    return (1 - diversity) * relevant[place] - diversity * most_similar


@given(candidates(), st.floats(0, 1), st.integers(1, 12))
def test_each_step_chooses_the_row_with_the_highest_marginal_relevance(
    given_candidates: tuple[Numbers, Numbers], diversity: float, k: int
) -> None:
    relevance, vectors = given_candidates
    k = min(k, len(relevance))
    places, _ = most_marginal(relevance, vectors, diversity, k)
    assert len(set(places)) == len(places) == k
    for step, place in enumerate(places):
        gains = {
            row: marginal(places[:step], row, relevance, vectors, diversity)
            for row in range(len(relevance))
            if row not in places[:step]
        }
        assert gains[place] == pytest.approx(max(gains.values()), abs=1e-9)


@given(candidates(), st.floats(0, 1))
def test_the_reported_similarity_is_the_highest_cosine_with_a_row_above(
    given_candidates: tuple[Numbers, Numbers], diversity: float
) -> None:
    relevance, vectors = given_candidates
    places, similarity = most_marginal(relevance, vectors, diversity, len(relevance))
    for step, place in enumerate(places):
        above = [float(vectors[place] @ vectors[other]) for other in places[:step] if any(vectors[other])]
        expected = max(above) if above and any(vectors[place]) else np.nan
        assert similarity[step] == pytest.approx(expected, abs=1e-9, nan_ok=True)


@given(candidates())
def test_without_diversity_the_order_stays(given_candidates: tuple[Numbers, Numbers]) -> None:
    relevance, vectors = given_candidates
    assert most_marginal(relevance, vectors, 0.0, len(relevance)).places == list(range(len(relevance)))


def row(name: str, vector: tuple[float, float] | None, relevance: float | None) -> RankedRow:
    array = None if vector is None else np.array(vector, np.float32)
    return RankedRow(NearestRow(name, 0.0, "{}", None, vector=array), relevance, relevance)


async def test_a_near_duplicate_gives_way_to_a_less_relevant_row_and_rows_without_a_score_stay_last() -> None:
    ranked = [
        row("red", (1, 0), 0.9),
        row("red too", (1, 0), 0.89),
        row("blue", (0, 1), 0.5),
        row("unscored", (-1, 0), None),
    ]
    chosen = await diversify(ranked, 0.7, 4)
    assert [each.row.key for each in chosen] == ["red", "blue", "red too", "unscored"]
    assert [each.similarity_above for each in chosen] == [None, 0.0, 1.0, None]
    assert [each.row.key for each in await diversify(ranked, 0.1, 2)] == ["red", "red too"]


async def test_large_searches_are_ordered_as_small_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread, so that other requests are answered meanwhile."""
    random = np.random.default_rng(3)
    ranked = [row(str(n), (float(x), float(y)), 1 - n / 40) for n, (x, y) in enumerate(random.normal(size=(40, 2)))]
    inline = await diversify(ranked, 0.5, 20)
    monkeypatch.setattr("sidecar.http.search.diversity._INLINE_MULTIPLICATIONS", 0)
    assert [each.row.key for each in await diversify(ranked, 0.5, 20)] == [each.row.key for each in inline]


def test_diverse_rows_are_chosen_from_four_times_as_many() -> None:
    assert [candidates_for(k, 1000) for k in (1, 10, 20, 400, 1000)] == [50, 50, 80, 1000, 1000]
    assert candidates_for(10, 30) == 30


def test_many_long_vectors_are_compared_as_fast_as_blas_does_it() -> None:
    vectors = np.random.default_rng(2).standard_normal((500, 8 * 1152))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    relevance = np.linspace(1, 0, len(vectors))
    began = time.perf_counter()
    inner_products(vectors, vectors)
    alone_s = time.perf_counter() - began
    spent_s = []
    for _ in range(3):
        began = time.perf_counter()
        most_marginal(relevance, vectors, 0.5, 10)
        spent_s.append(time.perf_counter() - began)
    assert min(spent_s) < alone_s / 3
