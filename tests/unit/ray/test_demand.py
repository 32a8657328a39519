"""What a replica reports: the rows per second that are called for, and those that it does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sidecar.ray.autoscaling import UNKNOWN
from sidecar.ray.demand import RateMeter, needed_rows_per_s
from tests.unit.watch_status import UP_TO_DATE

NOTHING_PENDING = replace(UP_TO_DATE, rows=1000, embedded=1000)


@pytest.mark.parametrize(
    ("watch", "needed"),
    [
        pytest.param({"pending": 600, "state": "catching up"}, 20.0, id="changes, within target_lag_s"),
        pytest.param({"pending": 600, "state": "backfilling"}, 1.0, id="a backfill, within target_backlog_s"),
        pytest.param({"pending": 600, "state": "catching up", "retrying": 300}, 10.0, id="not those that failed"),
        pytest.param({"pending": 600, "state": "catching up", "rows_per_s": 5.0}, 5.0, id="no more than the rate cap"),
        pytest.param({"pending": 600, "state": "paused"}, 0.0, id="paused"),
        pytest.param({"pending": 600, "state": "broken: the table is gone"}, 0.0, id="broken"),
        pytest.param({"pending": 600, "state": "denied: select"}, 0.0, id="denied"),
        pytest.param({"pending": 600, "state": "waiting for a sidecar with model b"}, 0.0, id="another model's"),
        pytest.param({"pending": None, "state": "catching up"}, 0.0, id="unknown"),
    ],
)
def test_only_rows_count_that_more_replicas_could_do(watch: dict[str, Any], needed: float) -> None:
    status = replace(NOTHING_PENDING, **watch)
    assert needed_rows_per_s([status, NOTHING_PENDING], backlog_s=600, lag_s=30) == pytest.approx(needed)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_that_of_the_time_in_which_there_was_work() -> None:
    clock = Clock()
    meter = RateMeter(clock)
    assert meter.add(0, has_work=True) == UNKNOWN
    clock.now = 5
    assert meter.add(500, has_work=True) == 100
    clock.now = 1000  # idle in between
    assert meter.add(600, has_work=False) == 100
    clock.now = 1001
    assert meter.add(600, has_work=True) == 100
    clock.now = 1005
    assert meter.add(1000, has_work=True) == 100


def test_a_minute_of_work_of_which_nothing_comes_is_a_rate_of_nothing() -> None:
    clock = Clock()
    meter = RateMeter(clock)
    rates = []
    for clock.now in range(0, 121, 10):
        rates.append(meter.add(0, has_work=True))
    assert rates == [UNKNOWN] * 6 + [0.0] * 7
    clock.now = 130
    assert meter.add(700, has_work=True) > 0
