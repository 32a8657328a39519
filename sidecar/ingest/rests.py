"""Watches whose statements fail rest, each by itself, so that they neither hold up the others nor the server."""

from __future__ import annotations

import time
from collections.abc import Callable

from sidecar.ingest.backoff import Backoff

FIRST_S, LAST_S = 0.1, 5.0


class Rests:
    """Doubles a watch's rest with each failure in a row. `clock` is in seconds and goes forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._backoffs: dict[int, Backoff] = {}
        self._until: dict[int, float] = {}

    def begin(self, watch_id: int) -> float:
        """A statement on the watch failed. Returns for how many seconds it rests."""
        delay_s = self._backoffs.setdefault(watch_id, Backoff(FIRST_S, LAST_S)).next_s()
        self._until[watch_id] = self._clock() + delay_s
        return delay_s

    def end(self, watch_id: int) -> None:
        """A statement on the watch worked."""
        self._backoffs.pop(watch_id, None)
        self._until.pop(watch_id, None)

    def is_resting(self, watch_id: int) -> bool:
        return self._clock() < self._until.get(watch_id, float("-inf"))
