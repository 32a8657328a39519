"""Receives what happens in the service, besides the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Observer:
    """Does nothing by itself. Called on the event loop, so an implementation has to be quick."""

    def request_done(self, route: str, method: str, status: int, duration_s: float) -> None:
        """`route` is a documented path or `other`; `status` is 499 if the client went first."""

    def vectors_committed(self, watch: str, lags_s: Sequence[float], backfilled: int) -> None:
        """Rows of one watch got their vectors. `lags_s`: time since each change; `backfilled`: rows without one."""

    def device_used(self, lane_s: Mapping[str, float]) -> None:
        """A micro-batch has ended. `lane_s`: its duration, divided among the lanes of its jobs by their units."""
