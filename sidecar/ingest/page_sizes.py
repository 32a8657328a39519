"""How many rows a page of a scan has, per watch: fewer where pages take long, so that each is bounded in time too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LONGEST_PAGE_S = 2.0
SMALLEST_SHARE = 1 / 256


class PageSizes:
    """`clock` is in seconds and goes forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shares: dict[int, float] = {}  # watch → of the usual size

    def rows(self, watch_id: int, usual_rows: int) -> int:
        return max(1, int(usual_rows * self._shares.get(watch_id, 1.0)))

    def halve(self, watch_id: int) -> None:
        """A page took too long, or failed."""
        self._shares[watch_id] = max(self._shares.get(watch_id, 1.0) / 2, SMALLEST_SHARE)

    @contextmanager
    def timed(self, watch_id: int) -> Iterator[None]:
        """The block turns a page. It grows again while pages are quick; one that fails is `halve`'s."""
        began = self._clock()
        yield
        elapsed_s = self._clock() - began
        if elapsed_s > LONGEST_PAGE_S:
            self.halve(watch_id)
        elif elapsed_s < LONGEST_PAGE_S / 4:
            self._shares[watch_id] = min(self._shares.get(watch_id, 1.0) * 2, 1.0)
