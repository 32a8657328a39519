"""The service's three objectives: how much of their error budgets is left, over windows of 5 minutes to 3 days.

    query_latency   95 % of the queries are answered within SLO_QUERY_P95_MS. Counts queries that got an answer; one
                    that ran into REQUEST_TIMEOUT_S is a violation. Large requests (thousands of texts) are left out.
    lag             95 % of the changed rows have their vector within SLO_LAG_P95_S. Counts rows that have it; how long
                    the others have waited is in sidecar.status.
    availability    a share of SLO_AVAILABILITY of the queries neither fails (5xx) nor is refused as overload (429).
                    Invalid requests (4xx) and those that the client gave up do not count.

A query is a POST that needs a key for `embed` or `search`: probes and scrapes are none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sidecar.settings import Settings
from sidecar.telemetry.observer import Observer
from sidecar.telemetry.request_context import request_is_large
from sidecar.telemetry.rolling_window import (
    DurationCounts,
    RollingWindow,
    Tally,
    bucket_of,
    count_durations,
    quantile_s,
)

Clock: TypeAlias = Callable[[], float]  # seconds, monotonic

WINDOWS_S = {"5m": 300.0, "1h": 3600.0, "6h": 6 * 3600.0, "3d": 3 * 86_400.0}
BUDGET_WINDOW = "3d"
_SHARE_IN_TIME = 0.95
_OVERLOADED, _TIMED_OUT = 429, 504


@dataclass(frozen=True, slots=True)
class WindowReport:
    """`covered_s`: the part of the window since the process started. `burn_rate`: 1 uses up the budget exactly.

    Without events there is neither rate nor quantile. The quantiles are right to 5 %.
    """

    covered_s: float
    events: int
    bad: int
    burn_rate: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None


@dataclass(frozen=True, slots=True)
class ObjectiveReport:
    """`threshold_s`: None if an event is good or bad whatever its duration.

    `budget_left` is the unused part of the last three days' error budget: 1 all of it, below 0 overspent, None without
    events.
    """

    target: float
    threshold_s: float | None
    budget_left: float | None
    windows: dict[str, WindowReport]


class Objective:
    """One objective: a target share of good events, counted since the start and over rolling windows.

    Call it on the event loop. Memory is bounded: 4 windows of 60 steps, each with at most some 240 buckets.
    """

    def __init__(self, target: float, threshold_s: float | None, clock: Clock) -> None:
        self.target = target
        self.threshold_s = threshold_s
        self.good = 0  # since the process started
        self.bad = 0
        self._clock = clock
        self._began_s = clock()
        self._windows = {name: RollingWindow(window_s) for name, window_s in WINDOWS_S.items()}

    def record(self, duration_s: float) -> None:
        """Records an event that is good if it took no longer than the threshold."""
        in_time = self.threshold_s is None or duration_s <= self.threshold_s
        self._add(int(in_time), int(not in_time), {bucket_of(duration_s): 1})

    def record_all(self, durations_s: Sequence[float]) -> None:
        """Records an event for each duration, all at once."""
        late = 0 if self.threshold_s is None else sum(duration_s > self.threshold_s for duration_s in durations_s)
        self._add(len(durations_s) - late, late, count_durations(durations_s))

    def record_violation(self, duration_s: float) -> None:
        """Records an event that is bad whatever its duration."""
        self._add(0, 1, {bucket_of(duration_s): 1})

    def record_event(self, good: bool) -> None:
        """Records an event without a duration."""
        self._add(int(good), int(not good), {})

    def _add(self, good: int, bad: int, durations: DurationCounts) -> None:
        now_s = self._clock()
        self.good += good
        self.bad += bad
        for window in self._windows.values():
            window.add(now_s, good, bad, durations)

    def report(self) -> ObjectiveReport:
        now_s = self._clock()
        totals = {name: window.total(now_s) for name, window in self._windows.items()}
        burnt = self._burn_rate(totals[BUDGET_WINDOW])
        return ObjectiveReport(
            self.target,
            self.threshold_s,
            None if burnt is None else 1 - burnt,
            {name: self._window_report(WINDOWS_S[name], total, now_s) for name, total in totals.items()},
        )

    def _window_report(self, window_s: float, total: Tally, now_s: float) -> WindowReport:
        p50_s, p95_s, p99_s = (quantile_s(total.durations, quantile) for quantile in (0.5, 0.95, 0.99))
        covered_s = round(min(window_s, now_s - self._began_s), 1)
        return WindowReport(covered_s, total.events, total.bad, self._burn_rate(total), p50_s, p95_s, p99_s)

    def _burn_rate(self, total: Tally) -> float | None:
        return total.bad / total.events / (1 - self.target) if total.events else None


class Objectives(Observer):
    """Judges queries and vectors. `queries`: routes with their methods, set once they are known."""

    def __init__(self, settings: Settings, clock: Clock = time.monotonic) -> None:
        self.query_latency = Objective(_SHARE_IN_TIME, settings.slo_query_p95_ms / 1000, clock)
        self.lag = Objective(_SHARE_IN_TIME, settings.slo_lag_p95_s, clock)
        self.availability = Objective(settings.slo_availability, None, clock)
        self.queries: Collection[tuple[str, str]] = frozenset()

    @property
    def by_name(self) -> dict[str, Objective]:
        return {"query_latency": self.query_latency, "lag": self.lag, "availability": self.availability}

    def request_done(self, route: str, method: str, status: int, duration_s: float) -> None:
        """See Observer."""
        if (route, method) not in self.queries:
            return
        answered = 200 <= status < 300
        judged = not request_is_large.get()
        if answered and judged:
            self.query_latency.record(duration_s)
        elif status == _TIMED_OUT and judged:
            self.query_latency.record_violation(duration_s)
        if answered or status >= 500 or status == _OVERLOADED:
            self.availability.record_event(answered)

    def vectors_committed(self, watch: str, lags_s: Sequence[float], backfilled: int) -> None:  # noqa: ARG002 - of any
        """See Observer."""
        if lags_s:
            self.lag.record_all(lags_s)

    def report(self) -> dict[str, ObjectiveReport]:
        return {name: objective.report() for name, objective in self.by_name.items()}


class ObjectiveMetrics(Collector):
    """The objectives' counts, targets and thresholds at each scrape: alert rules need not repeat the settings."""

    def __init__(self, objectives: Objectives) -> None:
        self._objectives = objectives

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        events = CounterMetricFamily(
            "sidecar_objective_events",
            "Queries or changed rows that an objective judges, by result.",
            labels=["objective", "result"],
        )
        targets = GaugeMetricFamily(
            "sidecar_objective_target_ratio", "Target fraction of good events.", labels=["objective"]
        )
        thresholds = GaugeMetricFamily(
            "sidecar_objective_threshold_seconds",
            "Longest duration of an event that counts as good.",
            labels=["objective"],
        )
        for name, objective in self._objectives.by_name.items():
            events.add_metric([name, "good"], objective.good)
            events.add_metric([name, "bad"], objective.bad)
            targets.add_metric([name], objective.target)
            if objective.threshold_s is not None:
                thresholds.add_metric([name], objective.threshold_s)
        yield from (events, targets, thresholds)
