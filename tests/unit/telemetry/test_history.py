"""The history: what came since the sample before, bounded in time and in watches."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.telemetry.history import MAX_SAMPLES, MAX_WATCHES, Backlog, History
from sidecar.telemetry.request_context import request_is_large

SEARCH = ("/search", "POST")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def history(clock: Clock) -> History:
    history = History(["query", "ingest"], clock, lambda: 1_800_000_000.1234)
    history.queries = {SEARCH}
    return history


def test_a_sample_has_the_rates_and_latencies_since_the_one_before(history: History, clock: Clock) -> None:
    sampler = history.sampler()
    for duration_s in (0.010, 0.010, 0.010, 0.500):
        history.request_done("/search", "POST", 200, duration_s)
    history.vectors_committed("public.a.v", [0.2] * 9 + [4.0], 30)
    history.device_used({"query": 0.5, "ingest": 1.5})
    clock.now_s += 5
    sample = sampler.sample({"public.a.v": Backlog(7, 2), "public.b.v": Backlog(None, 0)})
    assert sample.at == 1_800_000_000.123
    assert sample.queries.per_s == 0.8
    assert sample.queries.p50_s == pytest.approx(0.010, rel=0.05)
    assert sample.queries.p95_s == pytest.approx(0.500, rel=0.05)
    assert {lane: point.device_share for lane, point in sample.lanes.items()} == {"query": 0.1, "ingest": 0.3}
    a, b = sample.watches["public.a.v"], sample.watches["public.b.v"]
    assert (a.pending, a.failed, a.rows_per_s) == (7, 2, 8)
    assert a.lag_p50_s == pytest.approx(0.2, rel=0.05)
    assert a.lag_p95_s == pytest.approx(4.0, rel=0.05)
    assert (b.pending, b.failed, b.rows_per_s, b.lag_p50_s) == (None, 0, 0, None)
    clock.now_s += 2
    quiet = sampler.sample({"public.a.v": Backlog(0, 2)})
    assert (quiet.queries.per_s, quiet.queries.p95_s) == (0, None)
    assert (quiet.watches["public.a.v"].rows_per_s, quiet.watches["public.a.v"].lag_p95_s) == (0, None)
    assert quiet.lanes["ingest"].device_share == 0


def test_two_samplers_do_not_disturb_each_other(history: History, clock: Clock) -> None:
    slow, fast = history.sampler(), history.sampler()
    for _ in range(3):
        history.vectors_committed("w", [0.1] * 10, 0)
        clock.now_s += 2
        assert fast.sample(None).watches["w"].rows_per_s == 5
    assert slow.sample(None).watches["w"].rows_per_s == 5


def test_only_answered_queries_that_are_not_large_count(history: History, clock: Clock) -> None:
    sampler = history.sampler()
    history.request_done("/search", "POST", 503, 1)
    history.request_done("/search", "GET", 200, 1)
    history.request_done("/metrics", "GET", 200, 1)
    token = request_is_large.set(True)
    history.request_done("/search", "POST", 200, 1)
    request_is_large.reset(token)
    clock.now_s += 1
    assert sampler.sample(None).queries.per_s == 0


def test_while_the_database_cannot_be_read_the_rows_of_this_process_are_known(history: History, clock: Clock) -> None:
    sampler = history.sampler()
    history.vectors_committed("w", [], 4)
    clock.now_s += 2
    point = sampler.sample(None).watches["w"]
    assert (point.pending, point.failed, point.rows_per_s) == (None, None, 2)


def test_watches_that_are_gone_are_forgotten_and_may_come_back(history: History, clock: Clock) -> None:
    first, second = history.sampler(), history.sampler()
    history.vectors_committed("w", [0.1] * 8, 0)
    clock.now_s += 1
    first.sample(None)
    second.sample(None)
    first.sample({})
    assert history.sampler().sample(None).watches == {}
    history.vectors_committed("w", [0.1] * 2, 0)
    clock.now_s += 1
    assert second.sample({"w": Backlog(0, 0)}).watches["w"].rows_per_s == 2


def test_samples_of_an_hour_are_kept_and_no_more_watches_than_the_limit(history: History, clock: Clock) -> None:
    sampler = history.sampler()
    backlogs = {f"w{number}": Backlog(number, 0) for number in range(MAX_WATCHES + 50)}
    for number in range(MAX_SAMPLES + 3):
        history.request_done("/search", "POST", 200, 0.01)
        clock.now_s += 1 + (number == 3)
        history.append(sampler.sample(backlogs if number % 100 == 3 else {}))
    kept: dict[str, Any] = json.loads(history.as_json())
    assert kept["interval_s"] == 5
    assert len(kept["samples"]) == MAX_SAMPLES
    assert kept["samples"][0]["queries"]["per_s"] == 0.5  # the fourth: the first three have left
    assert len(kept["samples"][0]["watches"]) == MAX_WATCHES
    assert set(kept["samples"][0]["watches"]["w0"]) == {"pending", "failed", "rows_per_s", "lag_p50_s", "lag_p95_s"}


def test_an_empty_history_is_json(history: History) -> None:
    assert json.loads(history.as_json()) == {"interval_s": 5.0, "samples": []}
