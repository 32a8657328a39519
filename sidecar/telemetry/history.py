"""The last hour of the process in numbers, in bounded memory: lag, backlog, rows, time of the device, query latency.

Counts only grow; a Sampler turns what came since its last call into a sample. Each consumer has a sampler of its own,
so that the history's five seconds and the shorter steps of a live view do not disturb each other.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

import orjson

from sidecar.telemetry.observer import Observer
from sidecar.telemetry.request_context import request_is_large
from sidecar.telemetry.rolling_window import DurationCounts, bucket_of, count_durations, quantile_s

INTERVAL_S = 5.0
MAX_SAMPLES = 720  # an hour
MAX_WATCHES = 50  # of a sample: 7 kB as JSON, 5 MB in an hour

Clock: TypeAlias = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows of a watch that wait, None if unknown, and that failed, as last read from the database."""

    pending: int | None
    failed: int


@dataclass(frozen=True, slots=True)
class WatchPoint:
    """A watch in one sample: rows and lags are of this process; lags are None where no changed row got its vector.

    `pending`, `failed` are those of the database; None while it cannot be read.
    """

    pending: int | None
    failed: int | None
    rows_per_s: float
    lag_p50_s: float | None
    lag_p95_s: float | None


@dataclass(frozen=True, slots=True)
class LanePoint:
    """`device_share`: seconds of the device per second, of all devices together."""

    device_share: float


@dataclass(frozen=True, slots=True)
class QueryPoint:
    """Answered queries, other than large ones. The latencies are None without any."""

    per_s: float
    p50_s: float | None
    p95_s: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One point of each series. `at`: seconds since 1970."""

    at: float
    watches: Mapping[str, WatchPoint]
    lanes: Mapping[str, LanePoint]
    queries: QueryPoint


@dataclass(slots=True)
class _Durations:
    """Events and the buckets of their durations, since the start."""

    events: int = 0
    buckets: DurationCounts = field(default_factory=dict)

    def add(self, events: int, buckets: DurationCounts) -> None:
        self.events += events
        for bucket, count in buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def copy(self) -> _Durations:
        return _Durations(self.events, dict(self.buckets))

    def since(self, former: _Durations) -> _Durations:
        """What came after `former`; all of it if the counts began again meanwhile."""
        if self.events < former.events:
            return self
        new = {bucket: count - former.buckets.get(bucket, 0) for bucket, count in self.buckets.items()}
        return _Durations(self.events - former.events, {bucket: count for bucket, count in new.items() if count})


@dataclass(slots=True)
class _Totals:
    """Everything since the start. `watches`: rows that got a vector, and the lags of those that had changed."""

    watches: dict[str, _Durations] = field(default_factory=dict)
    lanes: dict[str, float] = field(default_factory=dict)
    queries: _Durations = field(default_factory=_Durations)

    def copy(self) -> _Totals:
        watches = {name: durations.copy() for name, durations in self.watches.items()}
        return _Totals(watches, dict(self.lanes), self.queries.copy())


class History(Observer):
    """Counts, and the samples of the last hour. `lanes`: the names of all lanes. `queries`: routes with their methods.

    Call it on the event loop.
    """

    def __init__(self, lanes: Collection[str], clock: Clock = time.monotonic, wall_clock: Clock = time.time) -> None:
        self.queries: Collection[tuple[str, str]] = frozenset()
        self._clock, self._wall_clock = clock, wall_clock
        self._totals = _Totals(lanes=dict.fromkeys(lanes, 0.0))
        self._samples: deque[bytes] = deque(maxlen=MAX_SAMPLES)  # as JSON, which is how they are sent

    def request_done(self, route: str, method: str, status: int, duration_s: float) -> None:
        """See Observer."""
        if (route, method) in self.queries and 200 <= status < 300 and not request_is_large.get():
            self._totals.queries.add(1, {bucket_of(duration_s): 1})

    def vectors_committed(self, watch: str, lags_s: Sequence[float], backfilled: int) -> None:
        """See Observer."""
        self._totals.watches.setdefault(watch, _Durations()).add(len(lags_s) + backfilled, count_durations(lags_s))

    def device_used(self, lane_s: Mapping[str, float]) -> None:
        """See Observer."""
        for lane, seconds in lane_s.items():
            self._totals.lanes[lane] = self._totals.lanes.get(lane, 0.0) + seconds

    def sampler(self) -> Sampler:
        """A sampler whose first sample begins now."""
        return Sampler(self._totals, self._clock, self._wall_clock)

    def append(self, sample: Sample) -> None:
        """Keeps a sample for an hour, at one each INTERVAL_S."""
        self._samples.append(orjson.dumps(sample))

    def as_json(self) -> bytes:
        """`{"interval_s": 5.0, "samples": [oldest, …]}`"""
        return b'{"interval_s":%s,"samples":[%s]}' % (str(INTERVAL_S).encode(), b",".join(self._samples))


class Sampler:
    """Makes samples of what came since the one before."""

    def __init__(self, totals: _Totals, clock: Clock, wall_clock: Clock) -> None:
        self._totals = totals
        self._clock, self._wall_clock = clock, wall_clock
        self._former, self._former_at_s = totals.copy(), clock()

    def sample(self, backlogs: Mapping[str, Backlog] | None) -> Sample:
        """The sample since the last call. `backlogs`: by watch; None: unknown. Forgets the counts of other watches."""
        former, seconds = self._former, max(self._clock() - self._former_at_s, 1e-3)
        totals = self._totals
        if backlogs is not None:
            for gone in totals.watches.keys() - backlogs.keys():
                del totals.watches[gone]
        self._former, self._former_at_s = totals.copy(), self._clock()
        return Sample(
            at=round(self._wall_clock(), 3),
            watches=dict(islice(self._watch_points(former, backlogs, seconds), MAX_WATCHES)),
            lanes={
                lane: LanePoint(round((used_s - former.lanes.get(lane, 0.0)) / seconds, 4))
                for lane, used_s in totals.lanes.items()
            },
            queries=_query_point(totals.queries.since(former.queries), seconds),
        )

    def _watch_points(
        self, former: _Totals, backlogs: Mapping[str, Backlog] | None, seconds: float
    ) -> Iterator[tuple[str, WatchPoint]]:
        none = _Durations()
        for name in self._totals.watches if backlogs is None else backlogs:
            new = self._totals.watches.get(name, none).since(former.watches.get(name, none))
            backlog = None if backlogs is None else backlogs[name]
            yield (
                name,
                WatchPoint(
                    pending=None if backlog is None else backlog.pending,
                    failed=None if backlog is None else backlog.failed,
                    rows_per_s=round(new.events / seconds, 3),
                    lag_p50_s=_rounded(quantile_s(new.buckets, 0.5)),
                    lag_p95_s=_rounded(quantile_s(new.buckets, 0.95)),
                ),
            )


def _query_point(new: _Durations, seconds: float) -> QueryPoint:
    p50_s, p95_s = (_rounded(quantile_s(new.buckets, quantile)) for quantile in (0.5, 0.95))
    return QueryPoint(round(new.events / seconds, 3), p50_s, p95_s)


def _rounded(duration_s: float | None) -> float | None:
    """Four digits, of which the buckets know two."""
    return None if duration_s is None else float(f"{duration_s:.4g}")
