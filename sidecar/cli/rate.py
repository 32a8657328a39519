"""How fast something is getting done, and when it will be."""

from __future__ import annotations

from collections import deque

_WINDOW_S = 15.0


class Rate:
    """Of the last seconds, so that a stop shows. Times are in seconds, on any clock that goes forward."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, at_s: float, done: int) -> None:
        """`done` is how many are done at that time; it may fall."""
        self._samples.append((at_s, done))
        while len(self._samples) > 2 and self._samples[0][0] < at_s - _WINDOW_S:
            self._samples.popleft()

    @property
    def per_s(self) -> float | None:
        """None until there are two samples; never below 0."""
        if len(self._samples) < 2:
            return None
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        return max((last - first) / (last_s - first_s), 0.0) if last_s > first_s else None

    def eta_s(self, left: int) -> float | None:
        """Seconds until `left` more are done; None while nothing moves."""
        if left == 0:
            return 0.0
        return left / self.per_s if self.per_s else None
