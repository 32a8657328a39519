"""What a tokenizer gets of a text: cleaned as open_clip cleans it, from its beginning on, as far as it is wanted."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from open_clip.tokenizer import canonicalize_text, get_clean_fn, whitespace_clean

from sidecar.batching.encoder import Beginning
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

INITIAL_CHARS = 512  # of a text, in which nearly always is more than a model reads
_MAX_PIECE_CHARS = 16 * 1024  # cleaned in about 15 ms, in which no other thread of Python's gets far
_LONG_NUMBER = re.compile(r"&#([0-9]{4000,});?")  # Python refuses to read more than 4,300 digits
_HIGHEST_DIGITS = 7


def find_normalisation(clean_fn: Clean) -> Clean | None:
    """What one of open_clip's cleaning functions does after repairing and decoding; None: it is none of them."""
    steps: Mapping[str, Clean] = {
        "canonicalize": canonicalize_text,
        "lower": lambda text: whitespace_clean(text).lower(),
        "whitespace": whitespace_clean,
    }
    return next((step for name, step in steps.items() if get_clean_fn(name) is clean_fn), None)


class CleanedPrefix(NamedTuple):
    """What open_clip's cleaning function makes of a text, up to some place: a blank, or, where `ends_in_word`, between
    two letters. `is_all`: the text ends there. `is_short`: there is more of it, but it was not read.
    """

    text: str
    ends_in_word: bool
    is_all: bool
    is_short: bool


class CleanedText:
    """Cleans no more of a text than is asked for. `ended`: all of it is cleaned; `is_short`: all that was read of it.

    Pieces are cleaned alone where ftfy's repair can be told from them; else a line is cleaned as a whole, which may
    have a million characters.
    """

    def __init__(self, text: str, find_normalisation: Clean) -> None:
        self._raw = text
        self._normalise = find_normalisation
        self._is_beginning = isinstance(text, Beginning)
        self._pieces: list[str] = []
        self._length = 0
        self._position = 0
        self._decodes_entities = True
        self._repaired = ""  # not yet cleaned: an entity may go on in the next line where ftfy cut one
        self._start_line()
        self._size = INITIAL_CHARS
        self._ends_in_word = False
        self.ended = False
        self.is_short = False

    def beginning(self, chars: int) -> CleanedPrefix:
        """At most that number of its characters; reads on where it has fewer. Raises DeviceError if cancelled."""
        while not self.ended and not self.is_short and self._length < chars:
            self._grow()
        whole = "".join(self._pieces)
        if len(whole) <= chars:
            return CleanedPrefix(whole, self._ends_in_word, self.ended, self.is_short)
        blank = whole.rfind(" ", chars // 2, chars + 1)
        return CleanedPrefix(whole[: blank if blank >= 0 else chars], blank < 0, is_all=False, is_short=False)

    def _grow(self) -> None:
        """By a piece, each twice as long as the one before."""
        goal = self._position + self._size
        while self._position < goal and not self.is_short:
            raise_if_cancelled()
            if self._position == len(self._raw):
                self.ended, self.is_short = not self._is_beginning, self._is_beginning
                break
            self._read_on()
        self._size = min(2 * self._size, _MAX_PIECE_CHARS)

    def _start_line(self) -> None:
        """`_line_end` is None where the line may go on behind the end of a beginning."""
        self._line_start = self._position
        self._at_line_start = len(self._pieces), self._repaired
        furthest = self._position + LONGEST_LINE
        newline = self._raw.find("\n", self._position, furthest)
        self._line_end: int | None = newline + 1
        if newline < 0:
            self._line_end = min(furthest, len(self._raw))
            if self._is_beginning and self._line_end < furthest:
                self._line_end = None
        if self._decodes_entities and self._raw.find("<", self._position, self._line_end) >= 0:
            self._decodes_entities = False

    def _read_on(self) -> None:
        if self._read_independent_lines():
            return
        end = self._line_end
        if end is not None and end - self._position <= self._size:
            cut: Split | None = Split(end, in_word=False)
        else:
            cut = self._find_split()
        is_line = cut is not None and self._position == self._line_start and cut.position == end
        part = None if cut is None or is_line else self._repair(cut)
        if cut is not None and part is not None:
            self._add(part, cut)
        elif end is not None:
            self._read_line(end)
        else:
            self.is_short = True

    def _read_independent_lines(self) -> bool:
        """Many short lines at once, where that makes no difference."""
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
        furthest = self._line_end if self._line_end is not None else len(self._raw) - LOOK_AHEAD
        size = self._size
        while True:
            stop = min(self._position + size, furthest)
            cut = find_split(self._raw, self._position, stop) if stop > self._position else None
            if cut is not None or stop >= furthest:
                return cut
            size *= 4

    def _repair(self, cut: Split) -> str | None:
        """What ftfy makes of the text up to the cut; None: it cannot be told from that part alone."""
        part = self._raw[self._position : cut.position]
        repaired = repair_fragment(part, decode_entities=self._decodes_entities)
        if cut.in_word and repaired is not None and not repaired.endswith(part[-1]):
            return None  # the letter was the end of an escape sequence
        if self._line_end is not None or not self._decodes_entities or repaired is None:
            return repaired
        other = repair_fragment(part, decode_entities=False)  # there may be a `<` behind the end of the beginning
        return repaired if other is not None and self._clean(other) == self._clean(repaired) else None

    def _read_line(self, end: int) -> None:
        pieces, self._repaired = self._at_line_start
        del self._pieces[pieces:]
        self._length = sum(map(len, self._pieces))
        self._ends_in_word = False
        repaired = repair_line(self._raw[self._line_start : end], decode_entities=self._decodes_entities)
        self._add(repaired, Split(end, in_word=False))

    def _add(self, repaired: str, cut: Split) -> None:
        self._position = cut.position
        self._repaired += repaired
        ends_line = cut.position == self._line_end
        if ends_line and self._raw[cut.position - 1] != "\n" and (self._is_beginning or cut.position < len(self._raw)):
            self._start_line()
            return
        cleaned = self._clean(self._repaired)
        self._repaired = ""
        if cleaned:
            cleaned = cleaned if self._ends_in_word or not self._pieces else " " + cleaned
            self._pieces.append(cleaned)
            self._length += len(cleaned)
            self._ends_in_word = cut.in_word
        if ends_line:
            self._start_line()

    def _clean(self, repaired: str) -> str:
        return self._normalise(_unescape(_unescape(repaired)).strip())


def _unescape(text: str) -> str:
    return html.unescape(_LONG_NUMBER.sub(_shorten_number, text))


def _shorten_number(match: re.Match[str]) -> str:
    digits = match[1].lstrip("0")
    return "\ufffd" if len(digits) > _HIGHEST_DIGITS else f"&#{digits or 0};"
