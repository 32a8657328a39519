"""The two principal components of vectors."""

from __future__ import annotations

import numpy as np
import pytest

from sidecar.http.map.projection import project


def test_the_axes_are_those_along_which_the_vectors_differ_most() -> None:
    random = np.random.default_rng(0)
    spread = np.array([0.1, 5.0, 0.1, 2.0, 0.1])
    vectors = (random.standard_normal((400, 5)) * spread + 7).astype(np.float32)
    found = project(vectors)
    centred = vectors - vectors.mean(axis=0)
    for axis, column in ((0, 1), (1, 3)):
        assert abs(np.corrcoef(found.points[:, axis], centred[:, column])[0, 1]) > 0.99
    assert found.shares[0] > found.shares[1] > 0.1
    assert 0.98 < found.shares.sum() < 1


def test_distances_in_the_plane_are_those_of_vectors_that_lie_in_one() -> None:
    random = np.random.default_rng(1)
    plane = np.linalg.qr(random.standard_normal((64, 2)))[0]
    flat = random.standard_normal((30, 2))
    found = project((flat @ plane.T).astype(np.float32))
    np.testing.assert_allclose(found.shares.sum(), 1, atol=1e-6)
    between = np.linalg.norm(found.points[:, None] - found.points[None], axis=2)
    np.testing.assert_allclose(between, np.linalg.norm(flat[:, None] - flat[None], axis=2), atol=1e-5)


def test_the_same_vectors_in_another_order_give_the_same_points() -> None:
    random = np.random.default_rng(2)
    vectors = random.standard_normal((50, 16)).astype(np.float32)
    order = random.permutation(50)
    np.testing.assert_allclose(project(vectors).points[order], project(vectors[order]).points, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_rows_with_one_vector_are_one_point(count: int) -> None:
    found = project(np.full((count, 8), 0.25, np.float32))
    assert found.points.tolist() == [[0.0, 0.0]] * count
    assert found.shares.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("shape", [(60, 24), (24, 60), (1, 8), (2, 8), (8, 1)])
def test_points_and_shares_are_those_of_the_singular_value_decomposition(shape: tuple[int, int]) -> None:
    vectors = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    found = project(vectors)
    left, strengths, _ = np.linalg.svd(vectors - vectors.mean(axis=0, dtype=np.float64), full_matrices=False)
    expected, axes = np.zeros((shape[0], 2)), min(2, *shape)
    expected[:, :axes] = left[:, :axes] * strengths[:axes]
    np.testing.assert_allclose(np.abs(found.points), np.abs(expected), atol=1e-6)
    shares = strengths[:axes] ** 2 / max((strengths**2).sum(), 1e-9)
    np.testing.assert_allclose(found.shares[:axes], shares, atol=1e-9)
