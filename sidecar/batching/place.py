"""Room in a lane for what a request was let in with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sidecar.batching.lane_queue import LaneQueue


class Place:
    """Promised to a request as a whole, and given back as its parts are prepared: they stand at the door then.

    New requests are refused for it. Nobody who was let in is held up by it, least of all the request's own parts.
    `on_dropped` is called for each part whose caller goes away while it is being prepared.
    """

    def __init__(self, queue: LaneQueue, units: int, on_dropped: Callable[[], object]) -> None:
        self._queue = queue
        self._units = units
        self._on_dropped = on_dropped
        queue.promised += units

    @contextmanager
    def part(self, units: int) -> Iterator[None]:
        """Give back the room of one part when it has been prepared, or has failed."""
        try:
            yield
        except asyncio.CancelledError:
            self._on_dropped()
            raise
        finally:
            self._give_back(min(units, self._units))

    def give_up(self) -> None:
        """Nothing more will come."""
        self._give_back(self._units)

    def _give_back(self, units: int) -> None:
        self._units -= units
        self._queue.promised -= units
