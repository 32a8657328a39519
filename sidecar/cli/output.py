"""What commands print to stdout: text, tables, JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

_WIDTH_FOR_PROGRAMS = 200


def make_console(*, stderr: bool = False) -> Console:
    """On stdout, or stderr. Reads no markup in what it prints, which is users' data; wide where nobody looks at it."""
    console = Console(markup=False, highlight=False, emoji=False, soft_wrap=False, stderr=stderr)
    if not console.is_terminal:
        console.width = _WIDTH_FOR_PROGRAMS
    return console


def print_json(value: object) -> None:
    """One line of JSON. Dataclasses become objects, times ISO 8601; what else JSON lacks becomes text."""
    typer.echo(json.dumps(value, default=_as_json, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Numbers to the right and never cut, None as nothing; what is long is wrapped in a narrow terminal."""
    table = Table(header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
        table.add_column(shorten(column, 40), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in rows:
        table.add_row(*(show(value) for value in row))
    make_console().print(table)


def show(value: object) -> str:
    """A value of a table's cell, as short text without line breaks or control characters."""
    if value is None:
        return ""
    if isinstance(value, dict) and list(value) == ["bytes"]:  # what a search shows of a bytea
        return show_size(value["bytes"])
    if isinstance(value, float):
        return f"{value:.4g}"
    return shorten(str(value), 70)


def show_size(size_bytes: int) -> str:
    """12 bytes, 3.4 KB, 5.6 MB."""
    if size_bytes < 1024:
        return f"{size_bytes} bytes"
    kilobytes = size_bytes / 1024
    return f"{kilobytes:.1f} KB" if kilobytes < 1024 else f"{kilobytes / 1024:.1f} MB"


def shorten(text: str, max_chars: int) -> str:
    """The beginning of `text` on one line, with … where it was cut."""
    line = "".join(char if char.isprintable() else " " for char in text[: max_chars + 1])
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def _as_json(value: Any) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
