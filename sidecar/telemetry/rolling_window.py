"""What happened in the last minutes, hours or days, in memory that does not grow."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidecar.telemetry.latency_histogram import Counts, add_up

SLOTS = 60


@dataclass(slots=True)
class Tally:
    """`durations` are those of the events that had one."""

    good: int = 0
    bad: int = 0
    durations: Counts = field(default_factory=dict)

    @property
    def events(self) -> int:
        return self.good + self.bad

    def add(self, good: int, bad: int, durations: Counts) -> None:
        self.good += good
        self.bad += bad
        for bucket, count in durations.items():
            self.durations[bucket] = self.durations.get(bucket, 0) + count


class RollingWindow:
    """The last `window_s`, in steps of a sixtieth of it: an event is forgotten by that much early.

    Times are those of one clock that does not go back.
    """

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self._step_s = window_s / SLOTS
        self._tallies: dict[int, Tally] = {}  # by step; at most SLOTS of them

    def add(self, now_s: float, good: int, bad: int, durations: Counts) -> None:
        step = self._step(now_s)
        tally = self._tallies.get(step)
        if tally is None:
            self._forget(step)
            tally = self._tallies[step] = Tally()
        tally.add(good, bad, durations)

    def total(self, now_s: float) -> Tally:
        """Of all events that are still in the window."""
        self._forget(self._step(now_s))
        tallies = self._tallies.values()
        return Tally(
            sum(tally.good for tally in tallies),
            sum(tally.bad for tally in tallies),
            add_up(tally.durations for tally in tallies),
        )

    def _step(self, now_s: float) -> int:
        return int(now_s // self._step_s)

    def _forget(self, step: int) -> None:
        for old in [old for old in self._tallies if old <= step - SLOTS]:
            del self._tallies[old]
