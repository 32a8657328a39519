"""ftfy's repair of a text, done on a part of it: exactly what ftfy makes of that part when it has the whole.

ftfy repairs a text line by line (longer lines in parts of a million characters). Within a line all of its repairs look
at a few neighbouring characters only, but for two: HTML entities are decoded unless a `<` stands in this line or one
before it, and a line that looks like UTF-8 which was read as another encoding is decoded as a whole, if all of it can
be. So a part of a line may be repaired alone if it was certainly not read in a wrong encoding, and is cut where nothing
spans the cut. `repair_fragment` returns None for any other part; then the line has to be repaired as a whole.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from itertools import groupby
from typing import NamedTuple

import ftfy
from ftfy import chardata, fixes
from ftfy.badness import is_bad

LONGEST_LINE = ftfy.TextFixerConfig().max_decode_length  # ftfy cuts longer ones
_CONFIG = ftfy.TextFixerConfig(explain=False)

# In ftfy's order. Each looks at a character and its neighbours only.
_LOCAL_FIXES = (
    fixes.fix_c1_controls,
    fixes.fix_latin_ligatures,
    fixes.fix_character_width,
    fixes.uncurl_quotes,
    fixes.fix_line_breaks,
    fixes.fix_surrogates,
    fixes.remove_terminal_escapes,
    fixes.remove_control_chars,
)
# Bytes that are UTF-8 in none of its variants, whatever stands around them.
_NOT_UTF8 = re.compile(rb"[\x00-\x7f][\x80-\xbf]|[\xc0-\xff][\x00-\x7f\xc0-\xff]")
_LOST_BYTE = "\x1a"  # where a line is decoded it stands for a lost byte, else it is a control character
_BLANKS = " \t\n"
_MARKS = "&\uff06\x1b"  # what an entity (in halves and full width) and an escape sequence begin with
_SPLITS_TRIED = 16
_LONGEST_SEQUENCE = 16  # of bytes, with some to spare: what stands behind the cut may be a part of the last one
# What an entity or an escape sequence can span, neither of which has blanks in it.
_SPAN = 160
_NEAR, LOOK_AHEAD = 64, 32  # characters before and behind a cut that are looked at
# Two letters between which a word may be cut: neither combines with the other, and none of the first kind continues a
# number (`&#x4f…`).
_FIRST_LETTERS = "g-wyzG-WYZ\u05d0-\u05ea\u0430-\u044f\u0905-\u0939\u0e01-\u0e2e\u3041-\u3096\u4e00-\u9fff\uac00-\ud7a3"
_NEXT_LETTERS = _FIRST_LETTERS + "A-Za-z0-9"
_WORD_SPLIT = re.compile(f"(?<=[{_FIRST_LETTERS}])(?=[{_NEXT_LETTERS}])")


def _list_marks() -> str:
    """Of all planes, as ranges for a regular expression."""
    marks = [code for code in range(sys.maxunicode + 1) if unicodedata.combining(chr(code))]
    runs = groupby(enumerate(marks), key=lambda numbered: numbered[1] - numbered[0])
    return "".join(f"{chr(run[0][1])}-{chr(run[-1][1])}" for run in (list(group) for _, group in runs))


_MANY_MARKS = re.compile(f"[{_list_marks()}]{{32,}}")


class Split(NamedTuple):
    """Where a part of a text ends: before the character `position`, within a word or behind a blank."""

    position: int
    in_word: bool


def repair_line(line: str, *, decode_entities: bool) -> str:
    """What ftfy makes of one line, or of a part that it cut."""
    while True:
        before = line
        if decode_entities:
            line = fixes.unescape_html(line)
        line = _apply_local_fixes(ftfy.fix_encoding(line, _CONFIG))
        if line == before:
            return line


def repair_fragment(part: str, *, decode_entities: bool) -> str | None:
    """What ftfy makes of part of a line, cut where `find_split` says; None: it depends on the rest of the line."""
    while True:
        before = part
        if decode_entities:
            part = fixes.unescape_html(part)
        if _may_be_mojibake(part):
            return None
        part = _apply_local_fixes(part)
        if part == before:
            return part


def find_split(text: str, start: int, stop: int) -> Split | None:
    """The last place in the second half of text[start:stop] where nothing spans the cut; None: there is none."""
    middle = (start + stop) // 2
    position = stop
    for _ in range(_SPLITS_TRIED):
        position = max(text.rfind(blank, middle, position) for blank in _BLANKS)
        if position < 0:
            break
        if _nothing_spans(text, start, position + 1):
            return Split(position + 1, in_word=False)
    for tried, found in enumerate(_WORD_SPLIT.finditer(text, middle, stop)):
        if tried == _SPLITS_TRIED:
            break
        position = found.start()
        begin = position - _SPAN
        is_spanned = begin < start or any(text.find(mark, begin, position + LOOK_AHEAD) >= 0 for mark in _MARKS)
        if not is_spanned and _nothing_spans(text, start, position):
            return Split(position, in_word=True)
    return None


def _nothing_spans(text: str, start: int, position: int) -> bool:
    """Nothing that ftfy may take for a character read in a wrong encoding spans the cut, now or in a later round."""
    left, right = text[max(start, position - _NEAR) : position], text[position : position + LOOK_AHEAD]
    has_entity = "&" in left or "&" in right
    if not has_entity and left.isascii() and right.isascii():
        return True
    if right.startswith("&") and ";" not in right:
        return False  # an entity that goes on behind it
    return _never_spanned(left, right, decode_entities=False) and (
        not has_entity or _never_spanned(left, right, decode_entities=True)
    )


def _never_spanned(left: str, right: str, *, decode_entities: bool) -> bool:
    while True:
        before = left, right
        if decode_entities:
            left, right = fixes.unescape_html(left), fixes.unescape_html(right)
        for match in chardata.UTF8_DETECTOR_RE.finditer(left + right):
            if match.start() < len(left) < match.end():
                return False
        left, right = _apply_local_fixes(left), _apply_local_fixes(right)
        if (left, right) == before:
            return True


def lines_are_independent(lines: str) -> bool:
    """Whether ftfy makes of several lines together what it makes of each; no entities are in them."""
    return lines.isascii() and "&" not in lines and _LOST_BYTE not in lines


def _apply_local_fixes(part: str) -> str:
    for fix in _LOCAL_FIXES:
        part = fix(part)
    return unicodedata.normalize("NFC", part if part.isascii() else _MANY_MARKS.sub(_order_marks, part))


def _order_marks(marks: re.Match[str]) -> str:
    """As normalising orders them; Python needs a time for it that grows with the square of their number."""
    return "".join(sorted(marks[0], key=unicodedata.combining))


def _may_be_mojibake(part: str) -> bool:
    """Whether ftfy may take it, or something in it, for text that was read in a wrong encoding."""
    if _LOST_BYTE in part:
        return True
    if part.isascii():
        return False
    return (
        chardata.C1_CONTROL_RE.search(part) is not None
        or any(is_bad(match[0]) for match in chardata.UTF8_DETECTOR_RE.finditer(part))
        or any(_may_be_decoded(part, encoding) for encoding in chardata.CHARMAP_ENCODINGS)
    )


def _may_be_decoded(part: str, encoding: str) -> bool:
    """Whether a line with this part in it may be UTF-8 that was read as `encoding`."""
    if not chardata.possible_encoding(part, encoding):
        return False
    read = part.encode(encoding)
    if encoding != "macroman":
        read = fixes.restore_byte_a0(read)
    if encoding.startswith("sloppy"):
        read = fixes.replace_lossy_sequences(read)
    return _NOT_UTF8.search(read[:-_LONGEST_SEQUENCE]) is None
