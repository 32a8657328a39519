"""The service's three objectives.

    query_latency   95 % of the queries are answered within SLO_QUERY_P95_MS. Of those that got an answer; one that ran
                    into REQUEST_TIMEOUT_S is too late. Large requests, thousands of texts, are not judged by it.
    lag             95 % of the changed rows have their vector within SLO_LAG_P95_S. Of those that have it: how long the
                    others have waited, sidecar.status tells.
    availability    a share of SLO_AVAILABILITY of the queries is neither failed (5xx) nor refused as overload (429).
                    What was wrong with the request itself (4xx), or was given up by the client, does not count.

A query is a POST that needs a key for `embed` or `search`: probes and scrapes are none.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from sidecar.settings import Settings
from sidecar.telemetry.large_request import request_is_large
from sidecar.telemetry.objective import Clock, Objective, ObjectiveReport

_SHARE_IN_TIME = 0.95
_OVERLOADED, _TIMED_OUT = 429, 504


class Objectives:
    """An Observer. `queries`, routes with their methods, are set once they are known."""

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
            self.query_latency.took(duration_s)
        elif status == _TIMED_OUT and judged:
            self.query_latency.was_late(duration_s)
        if answered or status >= 500 or status == _OVERLOADED:
            self.availability.happened(answered)

    def vectors_committed(self, watch: str, lags_s: Sequence[float]) -> None:  # noqa: ARG002 - one for all watches
        """See Observer."""
        self.lag.took_each(lags_s)

    def report(self) -> dict[str, ObjectiveReport]:
        return {name: objective.report() for name, objective in self.by_name.items()}
