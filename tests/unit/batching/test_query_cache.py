"""The cache of query texts: which it keeps, and its memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.batching.embedder import MAX_TEXT_CHARS, Embedded, QueryCache

DIMENSIONS = 1152
VECTOR_BYTES = DIMENSIONS * 4


def embedded(label: int) -> Embedded:
    return Embedded(np.full(DIMENSIONS, label, np.float32), truncated=False, tokens=label)


def test_the_least_recently_used_text_is_evicted_first() -> None:
    cache: QueryCache[str] = QueryCache(2 * 5_300)
    cache.put("a", "A", VECTOR_BYTES)
    cache.put("b", "B", VECTOR_BYTES)
    assert cache.get("a") == "A"
    cache.put("c", "C", VECTOR_BYTES)
    assert [cache.get(text) for text in "abc"] == ["A", None, "C"]


def test_a_text_that_is_put_twice_counts_once() -> None:
    cache: QueryCache[str] = QueryCache(100_000)
    cache.put("a", "first", VECTOR_BYTES)
    held_bytes = cache.held_bytes
    cache.put("a", "second", VECTOR_BYTES)
    assert cache.get("a") == "second"
    assert cache.held_bytes == held_bytes


@pytest.mark.parametrize("text", ["x" * (MAX_TEXT_CHARS + 1), "ab"])
def test_a_text_that_is_too_long_or_does_not_fit_is_not_kept(text: str) -> None:
    cache: QueryCache[str] = QueryCache(100_000 if len(text) > MAX_TEXT_CHARS else 5_000)
    cache.put(text, "answer", VECTOR_BYTES)
    assert cache.get(text) is None
    assert cache.held_bytes == 0


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 2000), st.booleans()), max_size=60),
    st.integers(3_000, 12_000),
)
def test_the_cache_behaves_as_a_dictionary_that_evicts_the_oldest(
    steps: list[tuple[str, int, bool]], max_bytes: int
) -> None:
    cache: QueryCache[int] = QueryCache(max_bytes)
    model: OrderedDict[str, int] = OrderedDict()
    for text, vector_bytes, looks_up in steps:
        if looks_up:
            found = cache.get(text)
            assert found is None or found == model[text]
            if found is not None:
                model.move_to_end(text)
        else:
            cache.put(text, vector_bytes, vector_bytes)
            model[text] = vector_bytes
            model.move_to_end(text)
        assert 0 <= cache.held_bytes <= max_bytes
    kept = [text for text in model if cache.get(text) is not None]
    assert kept == list(model)[len(model) - len(kept) :]


def test_the_cache_takes_no_more_memory_than_it_reports() -> None:
    max_bytes = 4 * 1024 * 1024
    cache: QueryCache[Embedded] = QueryCache(max_bytes)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(3000):
            text = f"query number {number} äöü"
            cache.put(text, embedded(number), VECTOR_BYTES)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.9 * max_bytes < held <= 1.01 * max_bytes
