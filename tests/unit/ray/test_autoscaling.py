"""How many replicas there should be: within bounds, without flapping, and not for work that nothing comes of."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.ray.autoscaling import NEEDED, RATE, UNKNOWN, choose_replicas, step_towards

LEAST, MOST = 1, 8


def context(
    *,
    present: int = 2,
    needed: Sequence[float] = (),
    rates: Sequence[float] = (),
    requests: float = 0.0,
    state: dict[str, float] | None = None,
    now: float = 1000.0,
) -> Any:
    def series(values: Sequence[float]) -> dict[int, list[Any]]:
        return {replica: [SimpleNamespace(value=value)] for replica, value in enumerate(values)}

    return SimpleNamespace(
        raw_metrics={NEEDED: series(needed), RATE: series(rates)},
        policy_state=state or {},
        current_time=now,
        total_num_requests=requests,
        target_num_replicas=present,
        config=SimpleNamespace(get_target_ongoing_requests=lambda: 10.0),
        capacity_adjusted_min_replicas=LEAST,
        capacity_adjusted_max_replicas=MOST,
    )


@pytest.mark.parametrize(
    ("given", "replicas"),
    [
        pytest.param({"needed": [400, 400], "rates": [100, 100]}, 4, id="rows"),
        pytest.param({"needed": [1e9], "rates": [100]}, 4, id="at most twice as many at a time"),
        pytest.param({"requests": 35}, 4, id="requests"),
        pytest.param({"requests": 35, "needed": [300], "rates": [100]}, 4, id="the greater of the two"),
        pytest.param({"requests": 5, "needed": [300], "rates": [100]}, 3, id="the greater of the two, rows"),
        pytest.param({"needed": [0, 0], "rates": [100, 100]}, 1, id="nothing to do"),
        pytest.param({"needed": [400], "rates": [UNKNOWN]}, 2, id="a rate that is not known yet"),
        pytest.param({"needed": [UNKNOWN, UNKNOWN], "rates": [UNKNOWN, UNKNOWN]}, 2, id="a database that is down"),
        pytest.param({}, 2, id="no report"),
        pytest.param({"needed": [400, 400], "rates": [0, 0]}, 1, id="nothing comes of the work"),
        pytest.param({"needed": [400, 400], "rates": [0, 200]}, 4, id="something comes of it in one replica"),
        pytest.param({"needed": [UNKNOWN, 400], "rates": [100, UNKNOWN]}, 4, id="each knows a part"),
    ],
)
def test_the_number_follows_rows_and_requests(given: dict[str, Any], replicas: int) -> None:
    assert choose_replicas(context(**given))[0] == replicas


def test_a_rate_that_falls_as_replicas_share_a_slow_database_does_not_call_for_more_of_them_at_once() -> None:
    replicas, state = choose_replicas(context(needed=[400], rates=[100, 100], present=4))
    assert replicas == 4
    assert choose_replicas(context(needed=[400], rates=[50] * 8, present=4, state=state, now=1001))[0] == 4


def test_a_small_change_of_the_demand_does_not_change_the_number() -> None:
    assert [step_towards(demand, 3) for demand in (2.91, 2.95, 3.0, 3.05, 3.1)] == [3] * 5
    assert (step_towards(2.85, 3), step_towards(1.85, 3), step_towards(3.2, 3)) == (3, 2, 4)


numbers = st.lists(st.floats(-1, 1e12, allow_nan=False), max_size=4)


@given(st.integers(LEAST, MOST), numbers, numbers, st.floats(0, 1e9), st.floats(0, 1e6))
def test_the_number_is_within_its_bounds_whatever_is_reported(
    present: int, needed: list[float], rates: list[float], requests: float, rate_before: float
) -> None:
    state = {"rate": rate_before, "at": 0.0}
    replicas, after = choose_replicas(
        context(present=present, needed=needed, rates=rates, requests=requests, state=state)
    )
    assert LEAST <= replicas <= min(MOST, 2 * present)
    assert all(isinstance(value, float) for value in after.values())


REPORTS = st.lists(st.floats(), max_size=3)


@given(
    needed=REPORTS,
    rates=REPORTS,
    clocks=st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=4),
    present=st.integers(0, 8),
)
def test_whatever_is_reported_and_whatever_the_clock_says_there_is_a_number(
    needed: list[float], rates: list[float], clocks: list[float], present: int
) -> None:
    state: dict[str, float] = {}
    for now in clocks:
        replicas, state = choose_replicas(
            context(needed=needed, rates=rates, present=present, requests=1e308, state=state, now=now)
        )
        assert LEAST <= replicas <= MOST


def test_a_clock_that_is_set_back_does_not_raise_the_remembered_rate() -> None:
    _, state = choose_replicas(context(needed=[400], rates=[100]))
    _, state = choose_replicas(context(needed=[400], rates=[100], state=state, now=1000.0 - 3600))
    assert state["rate"] == 100
