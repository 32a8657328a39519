"""How many rows may be claimed from a watch, on a clock that the test sets."""

from __future__ import annotations

import math

from sidecar.ingest.pacing import UNLIMITED, RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_without_a_limit_any_number_of_rows_may_be_claimed() -> None:
    limiter = RateLimiter(Clock())
    assert limiter.available_rows(1, None) == UNLIMITED
    assert limiter.wait_s() == math.inf


def test_rows_of_a_fifth_of_a_second_are_claimed_at_a_time() -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    assert limiter.available_rows(1, 50) == 0
    assert round(limiter.wait_s(), 6) == 0.2
    clock.now += 0.1
    assert limiter.available_rows(1, 50) == 0
    clock.now += 0.1001
    assert limiter.available_rows(1, 50) == 10
    limiter.consume(1, 10)
    assert limiter.available_rows(1, 50) == 0


def test_no_period_has_more_claims_than_the_limit_allows() -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    claimed = 0
    while clock.now < 110:
        rows = min(limiter.available_rows(1, 30), 7)
        limiter.consume(1, rows)
        claimed += rows
        clock.now += 0.013
    assert 270 <= claimed <= 306


def test_rows_that_were_not_claimed_are_not_saved_up() -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    limiter.available_rows(1, 50)
    clock.now += 3600
    assert limiter.available_rows(1, 50) == 10


def test_a_limit_below_one_row_per_second_allows_a_row_now_and_then() -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    assert limiter.available_rows(1, 0.5) == 0
    assert limiter.wait_s() == 2
    clock.now += 2
    assert limiter.available_rows(1, 0.5) == 1


def test_a_full_bucket_wakes_nothing() -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    limiter.available_rows(1, 50)
    clock.now += 1
    assert limiter.wait_s() == math.inf


def test_a_removed_or_lowered_limit_applies_at_once() -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    limiter.available_rows(1, 50)
    clock.now += 1
    assert limiter.available_rows(1, 5) == 1
    assert limiter.available_rows(1, None) == UNLIMITED
    assert limiter.wait_s() == math.inf
