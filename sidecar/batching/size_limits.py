"""How large a micro-batch may be, after the device ran out of memory."""

from __future__ import annotations

from sidecar.batching.work import Kind

FIRST_PAUSE_S = 15.0
LONGEST_PAUSE_S = 3600.0


class SizeLimits:
    """By kind, in units. Times are those of time.monotonic(). Not thread-safe; the device thread's.

    Half of what did not fit is the limit. After a pause twice the limit is tried, since the memory may have been
    somebody else's for a while; each such try that fails doubles the pause, one that fits makes it short again.
    """

    def __init__(self, max_units: int) -> None:
        self._max_units = max_units
        self._limits = dict.fromkeys(Kind, max_units)
        self._pause_s = dict.fromkeys(Kind, FIRST_PAUSE_S)
        self._try_larger_at = dict.fromkeys(Kind, 0.0)

    def limit(self, kind: Kind, now: float) -> int:
        """The most units the next micro-batch may have."""
        limit = self._limits[kind]
        return min(limit * 2, self._max_units) if now >= self._try_larger_at[kind] else limit

    def fitted(self, kind: Kind, units: int, now: float) -> None:
        """So many units went through at once."""
        if units > self._limits[kind]:
            self._limits[kind] = units
            self._pause_s[kind] = FIRST_PAUSE_S
            self._try_larger_at[kind] = now + FIRST_PAUSE_S

    def ran_out(self, kind: Kind, units: int, now: float) -> None:
        """So many units did not fit."""
        if units > self._limits[kind]:
            self._pause_s[kind] = min(self._pause_s[kind] * 2, LONGEST_PAUSE_S)
        else:
            self._limits[kind] = max(units // 2, 1)
        self._try_larger_at[kind] = now + self._pause_s[kind]
