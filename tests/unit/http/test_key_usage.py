"""Rates with bursts, and quotas per day, at times that the tests name."""

from __future__ import annotations

from dataclasses import replace

from sidecar.api_keys.key import ApiKey, Scope, digest_of
from sidecar.api_keys.limits import Quota, Rate
from sidecar.http.key_usage import KeyUsage

DAY_S = 86_400
KEY = ApiKey("front-end-0123456789", frozenset({Scope.SEARCH}), digest_of("front-end-0123456789"))
LIMITED = replace(KEY, rate=Rate(120, "minute", 3))


def permitted(usage: KeyUsage, key: ApiKey, at_s: float, utc_s: float = 0.0, times: int = 20) -> int:
    """How many of `times` simultaneous requests are admitted."""
    return sum(usage.take(key, at_s, utc_s) is None for _ in range(times))


def test_a_key_without_limits_is_never_refused() -> None:
    assert permitted(KeyUsage(), KEY, 0.0, times=1000) == 1000


def test_a_burst_passes_at_once_and_then_what_the_rate_refills() -> None:
    usage = KeyUsage()
    assert permitted(usage, LIMITED, 100.0) == 3
    refusal = usage.take(LIMITED, 100.2, 0.0)
    assert refusal is not None
    assert refusal.code == "rate_limited"
    assert refusal.message.startswith("The key permits 120 requests per minute, 3 at once.")
    assert abs(refusal.retry_after_s - 0.3) < 1e-9
    assert permitted(usage, LIMITED, 100.5) == 1
    assert permitted(usage, LIMITED, 101.5) == 2
    assert permitted(usage, LIMITED, 1000.0) == 3


def test_a_refused_request_does_not_put_off_the_next_one() -> None:
    usage = KeyUsage()
    assert permitted(usage, LIMITED, 0.0) == 3
    assert sum(permitted(usage, LIMITED, tick / 100, times=1) for tick in range(1, 501)) == 10


def test_a_quota_begins_anew_at_midnight_utc() -> None:
    usage, key = KeyUsage(), replace(KEY, quota=Quota(5))
    evening = 20_000 * DAY_S - 60.0
    assert permitted(usage, key, 0.0, evening) == 5
    refusal = usage.take(key, 0.0, evening)
    assert refusal is not None
    assert (refusal.code, refusal.retry_after_s) == ("quota_used_up", 60.0)
    assert permitted(usage, key, 0.0, evening + 60) == 5


def test_a_clock_that_is_set_back_does_not_give_a_second_quota() -> None:
    usage, key = KeyUsage(), replace(KEY, quota=Quota(5))
    assert permitted(usage, key, 0.0, 20_000 * DAY_S) == 5
    assert permitted(usage, key, 0.0, 20_000 * DAY_S - 1) == 0


def test_a_quota_counts_again_once_a_clock_that_was_days_ahead_is_right() -> None:
    usage, key = KeyUsage(), replace(KEY, quota=Quota(5))
    assert permitted(usage, key, 0.0, 20_400 * DAY_S) == 5
    assert permitted(usage, key, 0.0, 20_000 * DAY_S) == 5


def test_requests_beyond_the_rate_do_not_use_up_the_quota() -> None:
    usage, key = KeyUsage(), replace(LIMITED, quota=Quota(5))
    assert permitted(usage, key, 0.0) == 3
    assert permitted(usage, key, 100.0) == 2


def test_what_is_used_up_stays_so_when_the_limits_change() -> None:
    usage = KeyUsage()
    assert permitted(usage, replace(LIMITED, quota=Quota(100)), 0.0) == 3
    assert permitted(usage, replace(KEY, rate=Rate(1, "second", 5), quota=Quota(4)), 0.0) == 1


def test_a_smaller_burst_waits_no_longer_than_its_own_refill() -> None:
    usage = KeyUsage()
    assert permitted(usage, replace(KEY, rate=Rate(100, "hour", 100)), 0.0, times=100) == 100
    assert permitted(usage, replace(KEY, rate=Rate(1, "second", 1)), 1.0) == 1


def test_keys_have_counters_of_their_own() -> None:
    usage = KeyUsage()
    other = replace(LIMITED, digest=digest_of("another-0123456789"))
    assert permitted(usage, LIMITED, 0.0) == 3
    assert permitted(usage, other, 0.0) == 3
