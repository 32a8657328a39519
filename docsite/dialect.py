"""Where the Markdown of forges and that of the site's generator differ, in the latter's words.

A forge begins a list right below other text; Python-Markdown wants an empty line between. A forge wants a bar in
the code of a table's cell escaped; Python-Markdown shows the backslash.
"""

from __future__ import annotations

import re

_FENCE = re.compile(r"^ *(`{3,}|~{3,})")
_LIST_ITEM = re.compile(r"^ {0,3}(?:[-*+]|\d+\.) +\S")
_CODE_SPAN = re.compile(r"`[^`]*`")


def for_python_markdown(page: str) -> str:
    """A page of the repository as Python-Markdown reads it right. Code blocks stay what they are."""
    lines: list[str] = []
    fence = ""
    for line in page.split("\n"):
        mark = _FENCE.match(line)
        if mark and (not fence or line.strip() == fence):
            fence = "" if fence else mark[1]
        elif not fence:
            if _LIST_ITEM.match(line) and lines and _is_other_text(lines[-1]):
                lines.append("")
            if line.startswith("|"):
                line = _CODE_SPAN.sub(lambda span: span.group().replace("\\|", "|"), line)  # noqa: PLW2901
        lines.append(line)
    return "\n".join(lines)


def _is_other_text(line: str) -> bool:
    """Whether a line is neither empty nor of a list."""
    return bool(line.strip()) and not line.startswith(" ") and not _LIST_ITEM.match(line)
