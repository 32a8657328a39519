"""How many rows to claim at a time: as many as the device does in half a second.

A slow device would otherwise hoard hundreds of rows under its lease that another sidecar could be doing.
"""

from __future__ import annotations

import time

TARGET_S = 0.5
FIRST_ROWS = 16


class Pace:
    """Follows the rate at which batches come out, over all watches of one kind."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._rows_per_s: float | None = None
        self._last_end = float("-inf")

    def rows_to_claim(self) -> int:
        if self._rows_per_s is None:
            return min(FIRST_ROWS, self._max_rows)
        return max(1, min(self._max_rows, round(self._rows_per_s * TARGET_S)))

    def record(self, rows: int, started: float) -> None:
        """A batch of `rows` claimed at `started` (time.monotonic) is done. Small batches say little about the rate."""
        now = time.monotonic()
        elapsed_s = max(now - max(started, self._last_end), 1e-4)
        self._last_end = now
        rate = rows / elapsed_s
        if self._rows_per_s is None or rate > self._rows_per_s or rows >= self.rows_to_claim() / 2:
            self._rows_per_s = rate if self._rows_per_s is None else 0.5 * self._rows_per_s + 0.5 * rate
