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
