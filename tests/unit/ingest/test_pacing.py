"""How many rows may be claimed from a watch, and when it is skipped, on a clock that the test sets."""

from __future__ import annotations

import math

from sidecar.ingest.pacing import (
    CLAIM_TARGET_S,
    FIRST_CLAIM_ROWS,
    LAST_WATCH_RETRY_S,
    UNLIMITED,
    ClaimSize,
    RateLimiter,
    WatchBackoffs,
)


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


def test_claims_grow_to_the_rows_that_are_encoded_in_the_target_time() -> None:
    clock = Clock()
    size = ClaimSize(256, clock)
    assert size.rows() == FIRST_CLAIM_ROWS

    for _ in range(10):
        started = clock.now
        clock.now += size.rows() / 100  # a device that does 100 rows a second
        size.record(size.rows(), started)
    assert size.rows() == round(100 * CLAIM_TARGET_S)


def test_a_small_batch_does_not_shrink_the_claims_and_a_full_one_does() -> None:
    clock = Clock()
    size = ClaimSize(256, clock)
    clock.now += 1
    size.record(100, clock.now - 1)
    assert size.rows() == 50

    clock.now += 1
    size.record(1, clock.now - 1)
    assert size.rows() == 50
    clock.now += 1
    size.record(50, clock.now - 1)
    assert size.rows() < 50


def test_batches_that_overlap_count_from_the_end_of_the_one_before() -> None:
    clock = Clock()
    size = ClaimSize(256, clock)
    began = clock.now
    clock.now += 1
    size.record(100, began)
    clock.now += 1
    size.record(100, began)  # in flight for two seconds, of which the device worked one on it
    assert size.rows() == 50


def test_a_watch_whose_statements_fail_is_left_alone_ever_longer_and_no_other() -> None:
    clock = Clock()
    backoffs = WatchBackoffs(clock)
    first_s, second_s = backoffs.record_failure(1), backoffs.record_failure(1)
    assert first_s < second_s

    assert backoffs.is_waiting(1)
    assert not backoffs.is_waiting(2)
    clock.now += second_s
    assert not backoffs.is_waiting(1)
    assert max(backoffs.record_failure(1) for _ in range(20)) <= 1.25 * LAST_WATCH_RETRY_S


def test_a_success_ends_the_backoff_of_a_watch_at_once() -> None:
    clock = Clock()
    backoffs = WatchBackoffs(clock)
    first_s = backoffs.record_failure(1)
    for _ in range(5):
        backoffs.record_failure(1)

    backoffs.record_success(1)
    assert not backoffs.is_waiting(1)
    assert backoffs.record_failure(1) <= first_s * 1.25 / 0.75
