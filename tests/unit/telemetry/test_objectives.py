"""Objectives under random traffic, compared with numbers computed from the list of all events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from sidecar.config import Settings
from sidecar.telemetry.objectives import WINDOWS_S, Objective, ObjectiveMetrics, Objectives, WindowReport
from sidecar.telemetry.rolling_window import SLOTS

QUERY, SEARCH = ("/embed/text", "POST"), ("/search", "POST")
THRESHOLD_S = 0.25


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class Event:
    at_s: float
    duration_s: float

    @property
    def bad(self) -> bool:
        return self.duration_s > THRESHOLD_S


def make(clock: Clock | None = None) -> Objectives:
    objectives = Objectives(Settings(slo_query_p95_ms=250, slo_lag_p95_s=10, slo_availability=0.99), clock or Clock())
    objectives.queries = {QUERY, SEARCH}
    return objectives


def nearest_rank(durations_s: Sequence[float], quantile: float) -> float:
    return sorted(durations_s)[max(math.ceil(quantile * len(durations_s)), 1) - 1]


@st.composite
def traffic(draw: st.DrawFn) -> list[Event]:
    """Bursts and pauses, some of them longer than a window."""
    pauses_s = st.one_of(st.just(0.0), st.floats(0, 2), st.floats(0, 200), st.floats(0, 90_000))
    durations_s = st.one_of(st.floats(0.0001, 0.5), st.floats(0.0001, 5e5))
    at_s = 1000.0
    events = []
    for pause_s, duration_s in draw(st.lists(st.tuples(pauses_s, durations_s), max_size=60)):
        at_s += pause_s
        events.append(Event(at_s, duration_s))
    return events


@given(events=traffic(), silence_s=st.floats(0, 400_000))
def test_a_window_counts_the_events_inside_it(events: list[Event], silence_s: float) -> None:
    clock = Clock()
    objective = Objective(0.95, THRESHOLD_S, clock)
    for event in events:
        clock.now_s = event.at_s
        objective.record(event.duration_s)
    clock.now_s += silence_s
    for name, window in objective.report().windows.items():
        window_s = WINDOWS_S[name]
        step_s = window_s / SLOTS
        edge = (math.floor(clock.now_s / step_s) - SLOTS + 1) * step_s  # where the oldest step begins
        near = 1e-6
        surely = [event for event in events if event.at_s > edge + near]
        perhaps = [event for event in events if event.at_s >= edge - near]
        assert clock.now_s - window_s <= edge + near <= clock.now_s - window_s + step_s + 2 * near
        assert len(surely) <= window.events <= len(perhaps)
        assert sum(event.bad for event in surely) <= window.bad <= sum(event.bad for event in perhaps)
        assert window.covered_s == pytest.approx(min(window_s, clock.now_s - 1000), abs=0.06)
        if len(surely) == len(perhaps):
            check_numbers(window, surely)


def check_numbers(window: WindowReport, events: Sequence[Event]) -> None:
    if not events:
        assert (window.burn_rate, window.p50_s, window.p95_s, window.p99_s) == (None, None, None, None)
        return
    share_bad = sum(event.bad for event in events) / len(events)
    assert window.burn_rate == pytest.approx(share_bad / 0.05)
    durations_s = [event.duration_s for event in events]
    for quantile, shown_s in ((0.5, window.p50_s), (0.95, window.p95_s), (0.99, window.p99_s)):
        assert shown_s == pytest.approx(nearest_rank(durations_s, quantile), rel=0.05)


@given(durations_s=st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_the_budget_left_is_that_of_three_days(durations_s: list[float]) -> None:
    objective = Objective(0.95, THRESHOLD_S, Clock())
    for duration_s in durations_s:
        objective.record(duration_s)
    allowed = 0.05 * len(durations_s)
    slow = sum(duration_s > THRESHOLD_S for duration_s in durations_s)
    assert objective.report().budget_left == pytest.approx((allowed - slow) / allowed)


def test_without_traffic_there_are_no_rates_and_no_quantiles() -> None:
    clock = Clock()
    objectives = make(clock)
    clock.now_s += 60
    for report in objectives.report().values():
        assert report.budget_left is None
        for window in report.windows.values():
            assert window == WindowReport(60, 0, 0, None, None, None, None)


def test_a_window_longer_than_the_uptime_reports_what_it_covers() -> None:
    clock = Clock()
    objectives = make(clock)
    clock.now_s += 4000
    windows = objectives.report()["lag"].windows
    assert {name: window.covered_s for name, window in windows.items()} == {
        "5m": 300,
        "1h": 3600,
        "6h": 4000,
        "3d": 4000,
    }


def test_an_outage_burns_the_short_window_first_and_leaves_it_first() -> None:
    clock = Clock()
    objectives = make(clock)

    def serve(minutes: int, status: int) -> None:
        for _ in range(minutes * 60):
            clock.now_s += 1
            objectives.request_done(*QUERY, status, 0.01)

    def rates() -> dict[str, float | None]:
        return {name: window.burn_rate for name, window in objectives.report()["availability"].windows.items()}

    serve(120, 200)
    serve(6, 503)
    during = rates()
    assert during["5m"] == pytest.approx(100)
    assert during["1h"] == pytest.approx(10, rel=0.02)
    assert during["3d"] == pytest.approx(100 * 6 / 126)
    serve(6, 200)
    after = rates()
    assert after["5m"] == 0
    assert after["1h"] == pytest.approx(10, rel=0.02)


@pytest.mark.parametrize(
    ("status", "duration_s", "latency", "availability"),
    [
        (200, 0.25, "good", "good"),
        (200, 0.251, "bad", "good"),
        (429, 0.001, None, "bad"),
        (500, 0.001, None, "bad"),
        (503, 0.001, None, "bad"),
        (504, 60.0, "bad", "bad"),
        (504, 0.1, "bad", "bad"),
        (400, 0.001, None, None),
        (401, 0.001, None, None),
        (404, 0.001, None, None),
        (422, 0.001, None, None),
        (499, 3.0, None, None),
    ],
)
def test_which_statuses_are_good_bad_or_not_counted(
    status: int, duration_s: float, latency: str | None, availability: str | None
) -> None:
    objectives = make()
    objectives.request_done(*QUERY, status, duration_s)
    for objective, expected in ((objectives.query_latency, latency), (objectives.availability, availability)):
        assert (objective.good, objective.bad) == (int(expected == "good"), int(expected == "bad"))


@pytest.mark.parametrize(("route", "method"), [("/readyz", "GET"), ("/status", "GET"), ("other", "other")])
def test_probes_and_unknown_paths_are_no_queries(route: str, method: str) -> None:
    objectives = make()
    objectives.request_done(route, method, 503, 30.0)
    assert objectives.report() == make().report()


def test_the_lags_of_all_watches_are_one_objective() -> None:
    objectives = make()
    objectives.vectors_committed("public.a.v", [0.5] * 18, 0)
    objectives.vectors_committed("public.b.v", [11.0, 10.0], 0)
    report = objectives.report()["lag"]
    assert (report.windows["5m"].events, report.windows["5m"].bad) == (20, 1)
    assert report.windows["1h"].burn_rate == pytest.approx(1.0)
    assert report.windows["1h"].p50_s == pytest.approx(0.5, rel=0.05)
    assert report.budget_left == pytest.approx(0.0)


def test_prometheus_gets_counts_targets_and_thresholds() -> None:
    objectives = make()
    registry = CollectorRegistry()
    registry.register(ObjectiveMetrics(objectives))
    objectives.request_done(*QUERY, 200, 0.1)
    objectives.request_done(*SEARCH, 200, 1.0)
    objectives.request_done(*QUERY, 429, 0.0)
    lines = generate_latest(registry).decode().splitlines()
    for line in (
        'sidecar_objective_events_total{objective="query_latency",result="good"} 1.0',
        'sidecar_objective_events_total{objective="query_latency",result="bad"} 1.0',
        'sidecar_objective_events_total{objective="availability",result="bad"} 1.0',
        'sidecar_objective_target_ratio{objective="availability"} 0.99',
        'sidecar_objective_threshold_seconds{objective="lag"} 10.0',
    ):
        assert line in lines


@given(durations_s=st.lists(st.one_of(st.floats(0, 1), st.floats(0, 1e8)), max_size=50))
def test_record_all_counts_like_record_for_each(durations_s: list[float]) -> None:
    together, one_by_one = Objective(0.95, THRESHOLD_S, Clock()), Objective(0.95, THRESHOLD_S, Clock())
    together.record_all(durations_s)
    for duration_s in durations_s:
        one_by_one.record(duration_s)
    assert together.report() == one_by_one.report()
    assert (together.good, together.bad) == (one_by_one.good, one_by_one.bad)


def test_memory_does_not_grow_with_traffic() -> None:
    clock = Clock()
    objective = Objective(0.95, THRESHOLD_S, clock)
    for number in range(100_000):
        clock.now_s += 60
        objective.record((number % 10_000) / 100)
    for window in objective._windows.values():
        assert len(window._tallies) <= SLOTS
