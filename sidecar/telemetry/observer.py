"""Who else hears what the metrics count: the objectives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Observer(Protocol):
    """Told on the event loop, so it has to be quick."""

    def request_done(self, route: str, method: str, status: int, duration_s: float) -> None:
        """`route` is a path as in the documentation, or `other`; `status` is 499 where the client went first."""
        ...

    def vectors_committed(self, watch: str, lags_s: Sequence[float]) -> None:
        """Changed rows of one watch got their vectors. `lags_s`: since each change, without those of a backfill."""
        ...
