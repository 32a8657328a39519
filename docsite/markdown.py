"""Markdown of the reference pages: tables, and text that is no markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_CODE_SPAN = re.compile(r"(`[^`]*`)")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, or nothing where there are no rows."""
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines]) + "\n" if lines else ""


def escape(text: str) -> str:
    """Prose in which `<` and `*` are themselves. Code in backquotes stays code."""
    parts = _CODE_SPAN.split(text)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;").replace("*", "\\*") for part in parts)


def _cell(text: str) -> str:
    """One line, in which a bar is none of the table's."""
    return " ".join(text.split()).replace("|", "\\|")
