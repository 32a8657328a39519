"""How large a micro-batch may be, after the device ran out of memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidecar.batching.work import Kind

FIRST_PAUSE_S = 15.0
LONGEST_PAUSE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Tries:
    """What was sent to the device at once, by weight: what it had room for, and what it had not."""

    fitted: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)


class SizeLimits:
    """By kind, as weight. Times are those of time.monotonic(). Not thread-safe; the device thread's.

    The largest part of a micro-batch that did fit, when the whole did not, is the limit; if none did, whatever is less
    than the least of them. After a pause twice as much is
    tried, since the memory may have been somebody else's for a while; each such try that fails doubles the pause, one
    that fits makes it short again.
    """

    def __init__(self, max_weight: int) -> None:
        self._max_weight = max_weight
        self._limits = dict.fromkeys(Kind, max_weight)
        self._pause_s = dict.fromkeys(Kind, FIRST_PAUSE_S)
        self._try_larger_at = dict.fromkeys(Kind, 0.0)

    def limit(self, kind: Kind, now: float) -> int:
        """The most that the next micro-batch may weigh."""
        limit = self._limits[kind]
        return min(limit * 2, self._max_weight) if now >= self._try_larger_at[kind] else limit

    def learn(self, kind: Kind, tries: Tries, now: float) -> None:
        """From a micro-batch and the parts that it was tried in."""
        limit = self._limits[kind]
        if tries.failed:
            largest = max(tries.fitted, default=max(min(tries.failed) - 1, 1))
            if min(tries.failed) <= limit:
                self._limits[kind] = min(largest, limit)
            else:
                self._pause_s[kind] = min(self._pause_s[kind] * 2, LONGEST_PAUSE_S)
            self._try_larger_at[kind] = now + self._pause_s[kind]
        elif (largest := max(tries.fitted, default=0)) > limit:
            self._limits[kind] = largest
            self._pause_s[kind] = FIRST_PAUSE_S
            self._try_larger_at[kind] = now + FIRST_PAUSE_S
