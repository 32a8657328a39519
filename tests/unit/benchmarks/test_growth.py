"""Memory counts as growing only if the confidence interval of its slope lies above zero."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.figure import Figure
from benchmarks.serving.overload import fit_growth


def samples(growth: float, noise: float) -> list[tuple[float, float]]:
    """Ten minutes, a sample a second, with a growth in MiB a minute."""
    random = np.random.default_rng(1)
    return [(float(second), 300 + growth * second / 60 + random.normal(0, noise)) for second in range(600)]


def test_the_interval_holds_the_growth() -> None:
    growth, (low, high) = fit_growth(samples(2.0, noise=1.0))
    assert growth == pytest.approx(2.0, abs=0.1)
    assert low < 2.0 < high
    assert low > 1.5


@pytest.mark.parametrize(("growth", "met"), [(0.0, True), (0.5, False)])
def test_a_growth_meets_its_target_unless_it_can_be_told_from_zero(growth: float, met: bool) -> None:
    slope, interval = fit_growth(samples(growth, noise=1.0))
    assert Figure("growth", slope, "MiB/min", "<= 0", interval=interval).met is met
