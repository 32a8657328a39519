"""Texts without what a terminal obeys: names in a database may hold line breaks and control characters."""

from __future__ import annotations

import re

_INSIDE_EMOJI = re.compile("[\N{ZERO WIDTH JOINER}\N{TAG SPACE}-\N{CANCEL TAG}]")


def on_one_line(text: str) -> str:
    """`text` without line breaks, tabs and control characters, but with the joiners and tags inside emoji."""
    return "".join(char if char.isprintable() or _INSIDE_EMOJI.match(char) else " " for char in text)


def in_lines(text: str) -> str:
    """The same, with its line breaks."""
    return "\n".join(map(on_one_line, text.split("\n")))
