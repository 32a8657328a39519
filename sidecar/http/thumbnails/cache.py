"""Thumbnails that were made before, as many as fit into some bytes, and the reasons why there is none."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

from sidecar.errors import PictureRejected
from sidecar.pictures.picture import Thumbnail

_ENTRY_BYTES = 1000  # of an entry besides its picture: key, headers of objects, a message

Outcome: TypeAlias = Thumbnail | PictureRejected


class ThumbnailCache:
    """The most recently used ones, by ETag. A picture that crashes its decoder does so once, not on each view."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()

    @property
    def held_bytes(self) -> int:
        return self._held_bytes

    def get(self, etag: str) -> Outcome | None:
        outcome = self._outcomes.get(etag)
        if outcome is not None:
            self._outcomes.move_to_end(etag)
        return outcome

    def put(self, etag: str, outcome: Outcome) -> None:
        self._remove(etag)
        self._outcomes[etag] = outcome
        self._held_bytes += _bytes_of(outcome)
        while self._held_bytes > self._max_bytes:
            self._remove(next(iter(self._outcomes)))

    def _remove(self, etag: str) -> None:
        outcome = self._outcomes.pop(etag, None)
        if outcome is not None:
            self._held_bytes -= _bytes_of(outcome)


def _bytes_of(outcome: Outcome) -> int:
    return _ENTRY_BYTES + (len(outcome.content) if isinstance(outcome, Thumbnail) else 0)
