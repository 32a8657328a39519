import time

import numpy as np
import pytest
from numpy.typing import NDArray

from sidecar.batching.encoder import Encoder
from tests.encoders import HashEncoder, TimedEncoder


def vectors_of(encoder: Encoder, *texts: str) -> NDArray[np.float32]:
    return encoder.encode_texts(encoder.prepare_texts(texts))


def some_views(encoder: Encoder, count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, encoder.view_size, encoder.view_size, 3), np.uint8)


def test_vectors_are_float32_of_unit_length() -> None:
    encoder = HashEncoder()
    for vectors in (vectors_of(encoder, "one", "two", "three"), encoder.encode_views(some_views(encoder, 3))):
        assert vectors.dtype == np.float32
        assert vectors.shape == (3, 1152)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_the_same_content_gives_the_same_vector_in_any_batch_and_encoder() -> None:
    one, again = HashEncoder(), HashEncoder()
    np.testing.assert_array_equal(vectors_of(one, "a cat", "a dog")[1], vectors_of(again, "a dog")[0])
    np.testing.assert_array_equal(one.encode_views(some_views(one, 2))[0], again.encode_views(some_views(one, 1))[0])
    np.testing.assert_array_equal(vectors_of(one, "a dog")[0], again.vector_of("a dog"))


def test_different_content_and_different_models_give_vectors_far_apart() -> None:
    encoder = HashEncoder()
    vectors = [*vectors_of(encoder, "a cat", "a dog", "dog a"), *encoder.encode_views(some_views(encoder, 3))]
    vectors += [HashEncoder("another").vector_of("a cat")]
    cosines = np.stack(vectors) @ np.stack(vectors).T - np.eye(len(vectors))
    assert np.abs(cosines).max() < 0.2


def test_texts_are_prepared_as_by_a_real_model() -> None:
    blank, short, long = HashEncoder().prepare_texts([" \n", "A  Dog ", "word " * 65])
    assert (blank.blank, short.blank, long.blank) == (True, False, False)
    assert (blank.truncated, short.truncated, long.truncated) == (False, False, True)
    assert {text.token_ids.shape for text in (blank, short, long)} == {(64,)}
    np.testing.assert_array_equal(short.token_ids, HashEncoder().prepare_texts(["a dog"])[0].token_ids)


def test_calls_are_recorded() -> None:
    encoder = HashEncoder()
    vectors_of(encoder, "one", "two")
    encoder.encode_views(some_views(encoder, 3))
    assert encoder.calls == [2, 3]


def test_views_of_the_wrong_size_fail_an_assertion() -> None:
    with pytest.raises(AssertionError):
        HashEncoder(view_size=16).encode_views(np.zeros((1, 32, 32, 3), np.uint8))


def test_the_timed_encoder_takes_its_time_for_every_view_and_leaves_the_cpu_idle() -> None:
    encoder = TimedEncoder(view_ms=10)
    began, cpu_began = time.perf_counter(), time.thread_time()
    vectors = encoder.encode_views(some_views(encoder, 20))
    took, cpu_took = time.perf_counter() - began, time.thread_time() - cpu_began
    assert took >= 0.2
    assert cpu_took < 0.1
    np.testing.assert_array_equal(vectors, HashEncoder("timed").encode_views(some_views(encoder, 20)))
