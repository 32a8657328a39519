"""How fast the device gets through its work, as measured."""

from __future__ import annotations

_SMOOTHING = 0.2  # weight of the newest micro-batch: about the last ten of them count
_UNMEASURED_S = 1.0


class DrainRate:
    """Views a second, an exponential mean over recent micro-batches."""

    def __init__(self) -> None:
        self._seconds_per_view: float | None = None

    def add(self, views: int, duration_s: float) -> None:
        newest = duration_s / views
        if self._seconds_per_view is None:
            self._seconds_per_view = newest
        else:
            self._seconds_per_view += _SMOOTHING * (newest - self._seconds_per_view)

    @property
    def per_s(self) -> float | None:
        """None while nothing has been measured."""
        return 1 / self._seconds_per_view if self._seconds_per_view else None

    def time_for(self, views: int) -> float:
        """Seconds until so many views will be done; one second while nothing has been measured."""
        return _UNMEASURED_S if self._seconds_per_view is None else views * self._seconds_per_view
