"""Output of the commands on stdout: text and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from sidecar.printable import in_lines, on_one_line

_WIDTH_FOR_PROGRAMS = 200


def make_console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr. Prints markup verbatim, since users' data may hold it; wide if not a terminal."""
    console = Console(markup=False, highlight=False, emoji=False, soft_wrap=False, stderr=stderr)
    if not console.is_terminal:
        console.width = _WIDTH_FOR_PROGRAMS
    return console


@contextmanager
def show_wait(text: str) -> Iterator[Callable[[str], None]]:
    """A moving sign before `text` while the block runs; yields a function that replaces the text.

    On stderr, and only on a terminal: FORCE_COLOR would have it drawn into the output that a program reads.
    """
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    with make_console(stderr=True).status(_verbatim(text)) as status:
        yield lambda text: status.update(_verbatim(text))


def _verbatim(text: str) -> Text:
    """Of a plain string, rich would take [brackets] for markup."""
    return Text(on_one_line(text))


def echo(text: str, style: str | None = None) -> None:
    """Prints `text` in a colour, or "bold": on a terminal without NO_COLOR, and with FORCE_COLOR.

    Without the control characters of names, which a terminal would obey.
    """
    text = in_lines(text)
    console = make_console()
    if style is None or not console.is_terminal or console.is_dumb_terminal or console.no_color:
        typer.echo(text)
    else:
        typer.echo(typer.style(text, bold=True) if style == "bold" else typer.style(text, fg=style), color=True)


def print_json(value: object) -> None:
    """Prints one line of JSON. Dataclasses become objects, times ISO 8601, and other types that JSON lacks text."""
    typer.echo(json.dumps(value, default=_as_json, ensure_ascii=False))


def show(value: object) -> str:
    """The text of a cell: short, without line breaks or control characters."""
    if value is None:
        return ""
    if isinstance(value, dict) and list(value) == ["bytes"]:  # a bytea in the rows that a search found
        return show_size(value["bytes"])
    if isinstance(value, float):
        return f"{value:.4g}"
    return shorten(str(value), 70)


def show_size(size_bytes: int) -> str:
    """12 bytes, 3.4 KB, 5.6 MB, 7.8 GB, 9.0 TB."""
    if size_bytes < 1024:
        return f"{size_bytes} bytes"
    size = float(size_bytes)
    for unit in ("KB", "MB", "GB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:,.1f} TB"


def show_duration(seconds: float) -> str:
    """less than a second, about 90 seconds, about 5 hours."""
    if seconds < 1:
        return "less than a second"
    for unit, unit_s, until_s in (("seconds", 1, 120), ("minutes", 60, 7200), ("hours", 3600, 172_800)):
        if seconds < until_s:
            return f"about {seconds / unit_s:.0f} {unit}".replace("about 1 seconds", "about 1 second")
    days = seconds / 86_400
    return f"about {days:,.0f} days" if days < 730 else f"about {days / 365:,.0f} years"


def shorten(text: str, max_chars: int) -> str:
    """`text` on one line, cut with … to at most `max_chars`."""
    line = on_one_line(text[: max_chars + 1])
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def _as_json(value: Any) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
