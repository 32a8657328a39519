"""The queue's theory agrees with a queue."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ingest.queueing import batched_sojourns, sojourn_percentile, wait_distribution


@pytest.mark.parametrize("utilisation", [0.3, 0.5, 0.7])
def test_the_percentile_is_that_of_a_simulated_queue(utilisation: float) -> None:
    gaps = np.random.default_rng(0).exponential(5 / utilisation, 200_000)
    wait, sojourns = 0.0, []
    for gap in gaps:
        wait = max(0.0, wait + 5 - gap)
        sojourns.append(wait + 5)
    assert sojourn_percentile(0.95, 5, utilisation) == pytest.approx(np.percentile(sojourns, 95), rel=0.03)


def test_an_arrival_finds_the_server_idle_as_often_as_it_is() -> None:
    assert wait_distribution(0, 0.4) == pytest.approx(0.6)
    assert wait_distribution(15, 0.4) == pytest.approx(1)


def test_rows_of_a_batch_are_done_together() -> None:
    assert batched_sojourns([0, 1, 2, 20], service=5, max_batch=8) == [5, 14, 13, 5]
    assert batched_sojourns([0, 1, 2], service=5, max_batch=1) == [5, 9, 13]
