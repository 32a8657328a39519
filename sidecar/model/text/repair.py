"""Applies ftfy's repairs to fragments of a text, with exactly the result that ftfy has for the whole text.

ftfy repairs a text line by line (longer lines in parts of a million characters). Within a line each repair depends only
on a few neighbouring characters, with two exceptions: HTML entities are decoded unless a `<` occurs in this line or an
earlier one; and a line that looks like UTF-8 decoded with a wrong encoding is re-decoded as a whole, if all of it can
be. So a fragment of a line can be repaired alone if it certainly was not decoded with a wrong encoding, and if it is
split where no repair spans the split. For other fragments `repair_fragment` returns None, and the whole line has to be
repaired.
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

LONGEST_LINE = ftfy.TextFixerConfig().max_decode_length  # ftfy splits longer ones
_CONFIG = ftfy.TextFixerConfig(explain=False)

# In ftfy's order. Each depends on a character and its neighbours only.
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
# Bytes that are not UTF-8 in any of its variants, whatever surrounds them.
_NOT_UTF8 = re.compile(rb"[\x00-\x7f][\x80-\xbf]|[\xc0-\xff][\x00-\x7f\xc0-\xff]")
_LOST_BYTE = "\x1a"  # in a re-decoded line it replaces a lost byte, otherwise it is a control character
_BLANKS = " \t\n"
_MARKS = "&\uff06\x1b"  # first characters of an entity (half and full width) and of an escape sequence
_SPLITS_TRIED = 16
_LONGEST_SEQUENCE = 16  # of bytes, with a margin: text behind the split may belong to the last one
# Longest entity or escape sequence; neither contains blanks.
_SPAN = 160
_NEAR, LOOK_AHEAD = 64, 32  # characters before and behind a split that are checked
# Letters between which a word may be split: they do not combine with each other, and none of the first kind continues a
# number (`&#x4f…`).
_FIRST_LETTERS = "g-wyzG-WYZ\u05d0-\u05ea\u0430-\u044f\u0905-\u0939\u0e01-\u0e2e\u3041-\u3096\u4e00-\u9fff\uac00-\ud7a3"
_NEXT_LETTERS = _FIRST_LETTERS + "A-Za-z0-9"
_WORD_SPLIT = re.compile(f"(?<=[{_FIRST_LETTERS}])(?=[{_NEXT_LETTERS}])")


def _list_marks() -> str:
    """All combining marks of Unicode, as ranges for a regular expression."""
    marks = [code for code in range(sys.maxunicode + 1) if unicodedata.combining(chr(code))]
    runs = groupby(enumerate(marks), key=lambda numbered: numbered[1] - numbered[0])
    return "".join(f"{chr(run[0][1])}-{chr(run[-1][1])}" for run in (list(group) for _, group in runs))


_MANY_MARKS = re.compile(f"[{_list_marks()}]{{32,}}")


class Split(NamedTuple):
    """The end of a fragment, before the character `position`: within a word or behind a blank."""

    position: int
    in_word: bool


def repair_line(line: str, *, decode_entities: bool) -> str:
    """Repairs a whole line as ftfy does, or one of the parts into which ftfy splits it."""
    while True:
        before = line
        if decode_entities:
            line = fixes.unescape_html(line)
        line = _apply_local_fixes(ftfy.fix_encoding(line, _CONFIG))
        if line == before:
            return line


def repair_fragment(fragment: str, *, decode_entities: bool) -> str | None:
    """Repairs a fragment that ends at a split of `find_split`; None if its repair depends on the rest of the line."""
    while True:
        before = fragment
        if decode_entities:
            fragment = fixes.unescape_html(fragment)
        if _may_be_mojibake(fragment):
            return None
        fragment = _apply_local_fixes(fragment)
        if fragment == before:
            return fragment


def find_split(text: str, start: int, stop: int) -> Split | None:
    """The last split in the second half of text[start:stop] that no repair spans; None if there is none."""
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
    """True if nothing that ftfy may re-decode spans the split, in this round of repairs or a later one."""
    left, right = text[max(start, position - _NEAR) : position], text[position : position + LOOK_AHEAD]
    has_entity = "&" in left or "&" in right
    if not has_entity and left.isascii() and right.isascii():
        return True
    if right.startswith("&") and ";" not in right:
        return False  # an entity may continue behind the checked fragment
    return _never_spanned(left, right, decode_entities=False) and (
        not has_entity or _never_spanned(left, right, decode_entities=True)
    )


def _never_spanned(left: str, right: str, *, decode_entities: bool) -> bool:
    """Repairs both sides until they are stable. False if something to re-decode spans the split meanwhile."""
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
    """True if these lines can be repaired together: they are plain ASCII without entities."""
    return lines.isascii() and "&" not in lines and _LOST_BYTE not in lines


def _apply_local_fixes(fragment: str) -> str:
    for fix in _LOCAL_FIXES:
        fragment = fix(fragment)
    return unicodedata.normalize("NFC", fragment if fragment.isascii() else _MANY_MARKS.sub(_order_marks, fragment))


def _order_marks(marks: re.Match[str]) -> str:
    """Sorts marks as normalisation does, for which Python takes time quadratic in their number."""
    return "".join(sorted(marks[0], key=unicodedata.combining))


def _may_be_mojibake(fragment: str) -> bool:
    """True if ftfy may take the fragment, or part of it, for text decoded with a wrong encoding."""
    if _LOST_BYTE in fragment:
        return True
    if fragment.isascii():
        return False
    return (
        chardata.C1_CONTROL_RE.search(fragment) is not None
        or any(is_bad(match[0]) for match in chardata.UTF8_DETECTOR_RE.finditer(fragment))
        or any(_may_be_decoded(fragment, encoding) for encoding in chardata.CHARMAP_ENCODINGS)
    )


def _may_be_decoded(fragment: str, encoding: str) -> bool:
    """True if a line that contains this fragment may be UTF-8 decoded as `encoding`."""
    if not chardata.possible_encoding(fragment, encoding):
        return False
    read = fragment.encode(encoding)
    if encoding != "macroman":
        read = fixes.restore_byte_a0(read)
    if encoding.startswith("sloppy"):
        read = fixes.replace_lossy_sequences(read)
    return _NOT_UTF8.search(read[:-_LONGEST_SEQUENCE]) is None
