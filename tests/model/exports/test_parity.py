"""The gate: which figures let an export pass."""

from __future__ import annotations

import pytest

from sidecar.errors import ModelError
from sidecar.model.exports.parity import Parity
from sidecar.model.precision import Precision


def parity(
    precision: Precision = "fp32", cosine: float = 1.0, overlap: float = 1.0, length_error: float = 0.0
) -> Parity:
    return Parity("onnx", precision, cosine, cosine, overlap, length_error, 1.0)


@pytest.mark.parametrize(
    "passing",
    [
        parity(),
        parity("fp32", 0.9999),
        parity("bf16", 0.999),
        parity("int8", 0.999, 0.95),
        parity(length_error=1e-5),
    ],
)
def test_figures_within_the_bounds_pass(passing: Parity) -> None:
    passing.check()


@pytest.mark.parametrize(
    ("failing", "message"),
    [
        (parity("fp32", 0.99989), "texts agree to a cosine of 0.999890, at least 0.9999 is expected; pictures agree"),
        (parity("bf16", 0.9989), "at least 0.999 is expected"),
        (parity("int8", 0.9989), "at least 0.999 is expected"),
        (parity("int8", float("nan")), "texts agree to a cosine of nan"),
        (parity(overlap=0.949), "the ten nearest pictures overlap by 0.949, at least 0.95 is expected"),
        (parity(overlap=float("nan")), "overlap by nan"),
        (parity(length_error=2e-5), "lengths are off 1 by 2e-05"),
    ],
)
def test_a_figure_out_of_bounds_fails_with_its_value(failing: Parity, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        failing.check()
