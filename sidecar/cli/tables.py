"""Tables, records and facts on stdout, in the width that there is.

On a terminal, a table that fits is aligned, and one that does not becomes a block per record, so that no value is cut.
Elsewhere, a table is tab-separated values below one line of names.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import zip_longest
from textwrap import wrap

import typer
from rich.cells import cell_len
from rich.text import Text

from sidecar.cli.output import echo, make_console, shorten, show
from sidecar.printable import in_lines, on_one_line
from sidecar.similarity import did_you_mean

_GAP = "  "
_MIN_WRAPPED_WIDTH = 40
_MAX_VALUE_CHARS = 1000  # of a value in a block
_COMMAND = re.compile(r"(?<=: )sidecar .*")
_INNER_SPACE = "\N{NO-BREAK SPACE}"


def is_for_people() -> bool:
    """True if stdout is a terminal: what is printed is read by a person, not by a program."""
    return sys.stdout.isatty()


def choose_columns(chosen: str | None, columns: Sequence[str]) -> list[str]:
    """The names in `--columns a,b`, in its order; without it, all. Raises BadParameter for an unknown one."""
    if chosen is None:
        return list(columns)
    names = [name if name in columns else name.strip() for name in _split(chosen, columns)]
    for name in names:
        if name not in columns:
            message = f"there is no column {name!r}.{did_you_mean(name, columns)} The columns: {', '.join(columns)}"
            raise typer.BadParameter(message, param_hint="--columns")
    return names


def _split(chosen: str, columns: Sequence[str]) -> list[str]:
    """The names between commas; a name may hold commas, too, if it is the only one."""
    return [chosen] if chosen in columns else chosen.split(",")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], chosen: str | None = None) -> None:
    """Prints `rows`, or of each row only the `chosen` columns. Raises BadParameter as choose_columns does."""
    names = choose_columns(chosen, columns)
    print_columns(columns, rows, [columns.index(name) for name in names] if chosen else range(len(columns)))


def print_columns(columns: Sequence[str], rows: Sequence[Sequence[object]], picks: Sequence[int]) -> None:
    """Prints the columns with these indexes; names may be anything, also twice the same."""
    names = [columns[index] for index in picks]
    picked = [[row[index] for index in picks] for row in rows]
    if not is_for_people() or not picked:
        _print_tab_separated(names, picked)
        return
    cells = [[_cell(value) for value in row] for row in picked]
    widths = _fit([max(map(cell_len, column)) for column in zip(names, *cells, strict=True)], make_console().width)
    if widths is None:
        _print_blocks(names, cells)
    else:
        _print_aligned(names, cells, widths, [_is_numeric(column) for column in zip(*picked, strict=True)])


def print_note(text: str) -> None:
    """Prints a remark on a table below it; to stderr where a program reads the table."""
    typer.echo(in_lines(text), err=not is_for_people())


def print_facts(facts: Mapping[str, str | None], label_width: int, colours: Mapping[str, str] | None = None) -> None:
    """Prints a labelled line for each fact that is not empty; on a terminal, prose wraps below itself."""
    for label, fact in facts.items():
        if fact:
            echo(hang(f"    {label:<{label_width}}", fact), (colours or {}).get(label))


def hang(label: str, text: str) -> str:
    """`text` after `label`; on a terminal, its further lines begin below its first one.

    Commands and statements stay in one piece, to be copied: the terminal breaks them.
    """
    text = on_one_line(text)
    indent = cell_len(label)
    width = make_console().width - indent
    if not is_for_people() or text.endswith(";") or width < 20:
        return label + text
    whole = _COMMAND.sub(lambda command: command[0].replace(" ", _INNER_SPACE), text)
    lines = wrap(whole, width, break_long_words=False, break_on_hyphens=False) or [""]
    return label + f"\n{' ' * indent}".join(lines).replace(_INNER_SPACE, " ")


def _print_tab_separated(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    for row in (names, *rows):
        typer.echo("\t".join(_plain(value) for value in row))


def _plain(value: object) -> str:
    """A value on one line, with all its digits; NULL is empty."""
    if value is None:
        return ""
    if isinstance(value, dict) and list(value) == ["bytes"]:  # a bytea in the rows that a search found
        return str(value["bytes"])
    return on_one_line(str(value))


def _is_numeric(column: Sequence[object]) -> bool:
    return all(isinstance(value, int | float | Decimal | None) for value in column)


def _cell(value: object) -> str:
    return _plain(value) if isinstance(value, str) else show(value)


def _fit(widths: Sequence[int], room: int) -> list[int] | None:
    """The widths of a table in `room` columns. The widest column may wrap; None if that would leave it too narrow."""
    excess = max(sum(widths) + len(_GAP) * (len(widths) - 1) - room, 0)
    widest = max(range(len(widths)), key=widths.__getitem__)
    if excess and widths[widest] - excess < _MIN_WRAPPED_WIDTH:
        return None
    return [width - excess * (index == widest) for index, width in enumerate(widths)]


def _print_aligned(
    names: Sequence[str], cells: Sequence[Sequence[str]], widths: Sequence[int], numeric: Sequence[bool]
) -> None:
    def print_row(values: Sequence[str], style: str | None) -> None:
        wrapped = [_wrap(value, width) for value, width in zip(values, widths, strict=True)]
        for parts in zip_longest(*wrapped, fillvalue=""):
            padded = (
                " " * (width - cell_len(part)) + part if is_number else part + " " * (width - cell_len(part))
                for part, width, is_number in zip(parts, widths, numeric, strict=True)
            )
            echo(_GAP.join(padded).rstrip(), style)

    print_row([on_one_line(name) for name in names], "bold")
    for row in cells:
        print_row(row, None)


def _wrap(value: str, width: int) -> list[str]:
    return [line.plain.rstrip() for line in Text(value).wrap(make_console(), max(width, 1))] or [""]


def _print_blocks(names: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    console = make_console()
    label_width = max(map(cell_len, names)) + len(_GAP)
    for index, row in enumerate(cells):
        if index:
            typer.echo()
        for position, (name, value) in enumerate(zip(map(on_one_line, names), row, strict=True)):
            label = name + " " * (label_width - cell_len(name))
            lines = _wrap(_cut(value), max(console.width - label_width, 20))
            text = label + f"\n{' ' * label_width}".join(lines)
            echo(text.rstrip(), "bold" if position == 0 else None)


def _cut(value: str) -> str:
    if len(value) <= _MAX_VALUE_CHARS:
        return value
    return f"{shorten(value, _MAX_VALUE_CHARS)} ({len(value):,} characters; --json has them all)"
