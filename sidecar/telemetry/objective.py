"""One objective: a share of events that shall be good, and what is left of the rest, its error budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sidecar.telemetry.latency_histogram import Counts, bucket_of, count_durations, quantile_s
from sidecar.telemetry.rolling_window import RollingWindow, Tally

Clock: TypeAlias = Callable[[], float]  # seconds, of a clock that does not go back

WINDOWS_S = {"5m": 300.0, "1h": 3600.0, "6h": 6 * 3600.0, "3d": 3 * 86_400.0}
BUDGET_WINDOW = "3d"


@dataclass(frozen=True, slots=True)
class WindowReport:
    """`covered_s`: how much of the window the process has lived. `burn_rate`: 1 uses up the budget exactly.

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
    """`threshold_s`: None where an event is good or bad whatever its duration.

    `budget_left` is the part of the error budget of the last three days that is not used up: 1 all of it, below 0
    overspent, None without events.
    """

    target: float
    threshold_s: float | None
    budget_left: float | None
    windows: dict[str, WindowReport]


class Objective:
    """To be told on the event loop. Bounded: 4 windows of 60 steps, each with at most some 240 buckets."""

    def __init__(self, target: float, threshold_s: float | None, clock: Clock) -> None:
        self.target = target
        self.threshold_s = threshold_s
        self.good = 0  # since the process began
        self.bad = 0
        self._clock = clock
        self._began_s = clock()
        self._windows = {name: RollingWindow(window_s) for name, window_s in WINDOWS_S.items()}

    def took(self, duration_s: float) -> None:
        """An event that is good if it took no longer than the threshold."""
        in_time = self.threshold_s is None or duration_s <= self.threshold_s
        self._add(int(in_time), int(not in_time), {bucket_of(duration_s): 1})

    def took_each(self, durations_s: Sequence[float]) -> None:
        """As `took` for every one of them, at once."""
        late = 0 if self.threshold_s is None else sum(duration_s > self.threshold_s for duration_s in durations_s)
        self._add(len(durations_s) - late, late, count_durations(durations_s))

    def was_late(self, duration_s: float) -> None:
        """An event that is bad, whatever the threshold."""
        self._add(0, 1, {bucket_of(duration_s): 1})

    def happened(self, good: bool) -> None:
        """An event whose duration does not matter."""
        self._add(int(good), int(not good), {})

    def _add(self, good: int, bad: int, durations: Counts) -> None:
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
