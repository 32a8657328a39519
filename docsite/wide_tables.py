"""Room for wide tables: long names in cells may break, and a page that is mostly one has no contents beside it."""

from __future__ import annotations

import re

_LATER_CELL = re.compile(r"(?<=</td>)\s*<td\b.*?</td>", re.DOTALL)
_CODE = re.compile(r"<code>[^<]*</code>")
_JOINT = re.compile(r"(?<=[^<])(::|[/_])(?=\w)")
_FEW_HEADINGS = 3
_MANY_COLUMNS, _TOO_MANY_COLUMNS = 4, 8


def break_long_names(html: str) -> str:
    """The page with a place to break after each `/`, `::` and `_` of code in a table, but for the first column."""

    def break_code(code: re.Match[str]) -> str:
        inner = code.group().removeprefix("<code>").removesuffix("</code>")
        return "<code>" + _JOINT.sub(r"\1<wbr>", inner) + "</code>"

    return _LATER_CELL.sub(lambda cell: _CODE.sub(break_code, cell.group()), html)


def is_mostly_a_wide_table(html: str) -> bool:
    """Whether a page has a table of many columns, and hardly a heading; or a table that needs all the room there is."""
    widest = max((row.count("<th") for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL)), default=0)
    headings = len(re.findall(r"<h[23]\b", html))
    return widest >= _TOO_MANY_COLUMNS or (widest >= _MANY_COLUMNS and headings < _FEW_HEADINGS)
