"""Drain rates, and the `Retry-After` that rejected callers get."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.batching.admission import DrainRate, LaneRates
from sidecar.batching.inputs import Kind
from sidecar.batching.job import JobSlice, Lane
from sidecar.batching.micro_batch import MicroBatch
from tests.unit.batching.jobs import make_job

PICTURES = (Lane.QUERY, Kind.PICTURE)
TEXTS = (Lane.QUERY, Kind.TEXT)
PAIRS = (Lane.RERANK, Kind.PAIR)


def batch_of(lane: Lane, kind: Kind, items: int, waiting: set[tuple[Lane, Kind]] | None = None) -> MicroBatch:
    part = JobSlice(make_job(lane, kind, items), 0, items)
    return MicroBatch([part], lane, frozenset({(lane, kind)} | (waiting or set())))


def test_a_rate_follows_the_last_ten_micro_batches() -> None:
    rate = DrainRate()
    assert rate.per_s is None
    rate.add(10, 1.0)
    assert rate.per_s == pytest.approx(10)
    for _ in range(30):
        rate.add(10, 0.1)
    assert rate.per_s == pytest.approx(100, rel=0.02)


def test_each_lane_and_kind_has_its_own_rate() -> None:
    rates = LaneRates()
    rates.add(batch_of(*PICTURES, 10), 1.0)
    rates.add(batch_of(*TEXTS, 100), 1.0)
    rates.add(batch_of(*PAIRS, 50), 1.0)
    assert rates.retry_after_s(Lane.QUERY, [Kind.PICTURE], 200) == 20
    assert rates.retry_after_s(Lane.QUERY, [Kind.TEXT], 200) == 2
    assert rates.retry_after_s(Lane.RERANK, [Kind.PAIR], 200) == 4
    assert rates.retry_after_s(Lane.QUERY, [Kind.TEXT, Kind.PICTURE], 220) == 2


def test_time_of_other_lanes_in_between_is_included() -> None:
    rates = LaneRates()
    for _ in range(60):
        for _ in range(4):
            rates.add(batch_of(*TEXTS, 10, waiting={PAIRS}), 1.0)
        rates.add(batch_of(*PAIRS, 50, waiting={TEXTS}), 1.0)
    assert rates.retry_after_s(Lane.RERANK, [Kind.PAIR], 50) == 5


def test_time_in_which_a_lane_was_empty_is_not_included() -> None:
    rates = LaneRates()
    for _ in range(10):
        rates.add(batch_of(*TEXTS, 10), 1.0)
    rates.add(batch_of(*PAIRS, 50), 1.0)
    assert rates.retry_after_s(Lane.RERANK, [Kind.PAIR], 50) == 1


def test_a_lane_without_waiting_kinds_uses_the_rates_of_all_kinds() -> None:
    rates = LaneRates()
    rates.add(batch_of(*PICTURES, 10), 1.0)
    assert rates.retry_after_s(Lane.QUERY, [], 30) == 3


@given(st.integers(1, 10**6), st.floats(1e-6, 1e6), st.integers(1, 10**6))
def test_retry_after_is_whole_seconds_from_one_to_sixty(items: int, duration_s: float, missing: int) -> None:
    rates = LaneRates()
    assert rates.retry_after_s(Lane.QUERY, [Kind.TEXT], missing) == 1  # nothing was measured
    batch = batch_of(*TEXTS, min(items, 100))
    rates.add(batch, duration_s)
    retry_after_s = rates.retry_after_s(Lane.QUERY, [Kind.TEXT], missing)
    assert 1 <= retry_after_s <= 60
    assert retry_after_s == 60 or retry_after_s >= missing * duration_s / len(batch) - 1e-6
