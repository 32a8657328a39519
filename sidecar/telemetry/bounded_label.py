"""A label with a bounded number of values, whatever it is given."""

from __future__ import annotations

from collections.abc import Iterable

OTHER = "other"


class BoundedLabel:
    """The first `limit` values stand for themselves, those that come later for `other`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._values:
            return value
        if len(self._values) >= self._limit:
            return OTHER
        self._values.add(value)
        return value

    def keep_only(self, values: Iterable[str]) -> set[str]:
        """Makes room; returns the values that are gone."""
        gone = self._values.difference(values)
        self._values -= gone
        return gone
