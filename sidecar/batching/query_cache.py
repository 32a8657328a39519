"""The vectors of recent query texts."""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import Generic, TypeVar

MAX_TEXT_CHARS = 1000
_ENTRY_BYTES = 600  # the objects around a text and its vector, as measured

Answer = TypeVar("Answer")


class QueryCache(Generic[Answer]):
    """Keeps the answers to the texts asked for last, in at most `max_bytes`. Longer texts than MAX_TEXT_CHARS are not.

    The key is the text as it was sent, so a hit needs no tokenising. Used on the event loop only.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._answers: OrderedDict[str, tuple[Answer, int]] = OrderedDict()
        self.held_bytes = 0

    def get(self, text: str) -> Answer | None:
        entry = self._answers.get(text)
        if entry is None:
            return None
        self._answers.move_to_end(text)
        return entry[0]

    def put(self, text: str, answer: Answer, vector_bytes: int) -> None:
        """`answer` is handed out as it is from now on, so nobody may be able to change it."""
        entry_bytes = sys.getsizeof(text) + vector_bytes + _ENTRY_BYTES
        if text in self._answers:
            self.held_bytes -= self._answers.pop(text)[1]
        if len(text) > MAX_TEXT_CHARS or entry_bytes > self._max_bytes:
            return
        self._answers[text] = answer, entry_bytes
        self.held_bytes += entry_bytes
        while self.held_bytes > self._max_bytes:
            _, (_, oldest_bytes) = self._answers.popitem(last=False)
            self.held_bytes -= oldest_bytes
