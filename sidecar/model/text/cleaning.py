"""Cleans texts as open_clip does before tokenising, incrementally from the beginning of a long text."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from open_clip.tokenizer import canonicalize_text, get_clean_fn, whitespace_clean

from sidecar.batching.encoder import TextPrefix
from sidecar.batching.preparation import raise_if_cancelled
from sidecar.model.text.repair import (
    LONGEST_LINE,
    LOOK_AHEAD,
    Split,
    find_split,
    lines_are_independent,
    repair_fragment,
    repair_line,
)

Clean = Callable[[str], str]

INITIAL_CHARS = 512  # nearly always more than a model reads
_MAX_PIECE_CHARS = 16 * 1024  # cleaned in about 15 ms, which hold the GIL
_LONG_NUMBER = re.compile(r"&#([0-9]{4000,});?")  # Python refuses to parse more than 4,300 digits
_HIGHEST_DIGITS = 7


def find_normalisation(clean_fn: Clean) -> Clean | None:
    """The last step of one of open_clip's cleaning functions, after repair and decoding; None for other functions."""
    steps: Mapping[str, Clean] = {
        "canonicalize": canonicalize_text,
        "lower": lambda text: whitespace_clean(text).lower(),
        "whitespace": whitespace_clean,
    }
    return next((step for name, step in steps.items() if get_clean_fn(name) is clean_fn), None)


class CleanedPrefix(NamedTuple):
    """A prefix of the cleaned text, which ends at a blank, or between two letters if `ends_in_word`.

    `is_complete`: it is the whole text. `is_short`: the text continues, but no more of it is available (a TextPrefix).
    """

    text: str
    ends_in_word: bool
    is_complete: bool
    is_short: bool


class CleanedText:
    """Cleans a text piece by piece, no further than requested.

    `ended`: all of it is cleaned. `is_short`: all available text is cleaned, but the text continues. Pieces are cleaned
    separately if that certainly gives the result for the whole; otherwise a whole line is cleaned, which may have a
    million characters.
    """

    def __init__(self, text: str, normalise: Clean) -> None:
        self._raw = text
        self._normalise = normalise
        self._is_prefix = isinstance(text, TextPrefix)
        self._pieces: list[str] = []
        self._length = 0
        self._position = 0
        self._decodes_entities = True
        self._repaired = ""  # not yet cleaned: an entity may continue in the next line where ftfy split a long one
        self._start_line()
        self._size = INITIAL_CHARS
        self._ends_in_word = False
        self.ended = False
        self.is_short = False

    def prefix(self, chars: int) -> CleanedPrefix:
        """The first cleaned characters, up to `chars`; cleans what that needs. Raises DeviceError if cancelled."""
        while not self.ended and not self.is_short and self._length < chars:
            self._grow()
        whole = "".join(self._pieces)
        if len(whole) <= chars:
            return CleanedPrefix(whole, self._ends_in_word, self.ended, self.is_short)
        blank = whole.rfind(" ", chars // 2, chars + 1)
        return CleanedPrefix(whole[: blank if blank >= 0 else chars], blank < 0, is_complete=False, is_short=False)

    def _grow(self) -> None:
        """Cleans one more piece, up to twice as long as the one before."""
        goal = self._position + self._size
        while self._position < goal and not self.is_short:
            raise_if_cancelled()
            if self._position == len(self._raw):
                self.ended, self.is_short = not self._is_prefix, self._is_prefix
                break
            self._clean_next()
        self._size = min(2 * self._size, _MAX_PIECE_CHARS)

    def _start_line(self) -> None:
        """Starts a line at the current position. `_line_end` is None if it may extend beyond the available text."""
        self._line_start = self._position
        self._at_line_start = len(self._pieces), self._repaired
        furthest = self._position + LONGEST_LINE
        newline = self._raw.find("\n", self._position, furthest)
        self._line_end: int | None = newline + 1
        if newline < 0:
            self._line_end = min(furthest, len(self._raw))
            if self._is_prefix and self._line_end < furthest:
                self._line_end = None
        if self._decodes_entities and self._raw.find("<", self._position, self._line_end) >= 0:
            self._decodes_entities = False

    def _clean_next(self) -> None:
        """Cleans a group of short lines, a piece of a line, or a whole line."""
        if self._clean_independent_lines():
            return
        end = self._line_end
        if end is not None and end - self._position <= self._size:
            split: Split | None = Split(end, in_word=False)
        else:
            split = self._find_split()
        is_line = split is not None and self._position == self._line_start and split.position == end
        part = None if split is None or is_line else self._repair(split)
        if split is not None and part is not None:
            self._add(part, split)
        elif end is not None:
            self._clean_line(end)
        else:
            self.is_short = True

    def _clean_independent_lines(self) -> bool:
        """Cleans many short lines at once, if the result is the same."""
        if self._position != self._line_start or self._repaired:
            return False
        end = self._raw.rfind("\n", self._position, self._position + self._size) + 1
        lines = self._raw[self._position : end]
        repaired = repair_fragment(lines, decode_entities=False) if lines_are_independent(lines) else None
        if not lines or repaired is None:
            return False
        self._decodes_entities = self._decodes_entities and "<" not in lines
        self._add(repaired, Split(end, in_word=False))
        self._start_line()
        return True

    def _find_split(self) -> Split | None:
        """The next split in the current line, further ahead if there is none nearby; None if the line has none."""
        furthest = self._line_end if self._line_end is not None else len(self._raw) - LOOK_AHEAD
        size = self._size
        while True:
            stop = min(self._position + size, furthest)
            split = find_split(self._raw, self._position, stop) if stop > self._position else None
            if split is not None or stop >= furthest:
                return split
            size *= 4

    def _repair(self, split: Split) -> str | None:
        """Repairs the text up to the split; None if that depends on the rest of the line."""
        part = self._raw[self._position : split.position]
        repaired = repair_fragment(part, decode_entities=self._decodes_entities)
        if split.in_word and repaired is not None and not repaired.endswith(part[-1]):
            return None  # the last letter was the end of an escape sequence
        if self._line_end is not None or not self._decodes_entities or repaired is None:
            return repaired
        other = repair_fragment(part, decode_entities=False)  # a `<` may follow behind the available text
        return repaired if other is not None and self._clean(other) == self._clean(repaired) else None

    def _clean_line(self, end: int) -> None:
        """Discards the cleaned pieces of the current line, and cleans the line as a whole."""
        pieces, self._repaired = self._at_line_start
        del self._pieces[pieces:]
        self._length = sum(map(len, self._pieces))
        self._ends_in_word = False
        repaired = repair_line(self._raw[self._line_start : end], decode_entities=self._decodes_entities)
        self._add(repaired, Split(end, in_word=False))

    def _add(self, repaired: str, split: Split) -> None:
        """Cleans repaired text and appends it to the pieces, up to the split; starts a new line at the end of one."""
        self._position = split.position
        self._repaired += repaired
        ends_line = split.position == self._line_end
        if ends_line and self._raw[split.position - 1] != "\n" and (self._is_prefix or split.position < len(self._raw)):
            self._start_line()
            return
        cleaned = self._clean(self._repaired)
        self._repaired = ""
        if cleaned:
            cleaned = cleaned if self._ends_in_word or not self._pieces else " " + cleaned
            self._pieces.append(cleaned)
            self._length += len(cleaned)
            self._ends_in_word = split.in_word
        if ends_line:
            self._start_line()

    def _clean(self, repaired: str) -> str:
        return self._normalise(_unescape(_unescape(repaired)).strip())


def _unescape(text: str) -> str:
    return html.unescape(_LONG_NUMBER.sub(_shorten_number, text))


def _shorten_number(match: re.Match[str]) -> str:
    digits = match[1].lstrip("0")
    return "\ufffd" if len(digits) > _HIGHEST_DIGITS else f"&#{digits or 0};"
