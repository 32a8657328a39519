"""Rows found by a search, printed as a table or as lines."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from sidecar.cli.output import print_table, shorten, show

if TYPE_CHECKING:
    from sidecar.operations.search import FoundRows, SearchableWatch

_MAX_COLUMNS = 6
_TEXT_CHARS = 70
_SHOWN_AS_PICTURE = "\N{VARIATION SELECTOR-16}"
_KEYCAP = "\N{COMBINING ENCLOSING KEYCAP}"
_FIRST_SYMBOL = "\N{DOUBLE EXCLAMATION MARK}"
_SYMBOLS = {"So", "Sm"}
_JOINING = {"Cf", "Mn", "Me", "Sk"}  # joiners, selectors, skin tones, tags of flags


def print_found_rows(found: FoundRows, watch: SearchableWatch) -> None:
    """Prints a table; or, if every row has an emoji, a line per row with the emoji before its texts."""
    emoji = _find_emoji_column(found)
    if emoji is None:
        _print_table(found, watch)
    else:
        _print_lines(found, watch, emoji)


def is_emoji(value: object) -> bool:
    """True for a text of one or more emoji and nothing else."""
    if not isinstance(value, str) or not value:
        return False
    if value[1:] in {_SHOWN_AS_PICTURE, _KEYCAP, _SHOWN_AS_PICTURE + _KEYCAP}:
        return True
    kinds = {unicodedata.category(char) for char in value}
    return value[0] >= _FIRST_SYMBOL and bool(kinds & _SYMBOLS) and kinds <= _SYMBOLS | _JOINING


def _find_emoji_column(found: FoundRows) -> int | None:
    """The index of the first column that holds an emoji in every row."""
    for index in range(len(found.columns)):
        if all(is_emoji(row[index]) for row in found.rows):
            return index
    return None


def _print_lines(found: FoundRows, watch: SearchableWatch, emoji: int) -> None:
    """Nothing after the emoji is aligned: terminals disagree about the width of some."""
    typer.echo("distance")
    for distance, row in zip(found.distances, found.rows, strict=True):
        texts = [show(row[index]) for index in _text_columns(found, watch, emoji)]
        typer.echo(f"{distance:8.3f}  {row[emoji]}  {shorten(' · '.join(filter(None, texts)), _TEXT_CHARS)}")


def _text_columns(found: FoundRows, watch: SearchableWatch, emoji: int) -> list[int]:
    """The columns that hold texts, by index, except the key and the column `emoji`."""
    return [
        index
        for index, column in enumerate(found.columns)
        if index != emoji and column not in watch.key_columns and any(isinstance(row[index], str) for row in found.rows)
    ]


def _print_table(found: FoundRows, watch: SearchableWatch) -> None:
    keys = [index for index, column in enumerate(found.columns) if column in watch.key_columns]
    others = [index for index in range(len(found.columns)) if index not in keys]
    hidden = [found.columns[index] for index in others[_MAX_COLUMNS:]]
    shown = others[:_MAX_COLUMNS]
    print_table(
        [*(found.columns[index] for index in keys), "distance", *(found.columns[index] for index in shown)],
        [
            (*_pick(row, keys), distance, *_pick(row, shown))
            for distance, row in zip(found.distances, found.rows, strict=True)
        ],
    )
    if hidden:
        typer.echo(f"Not shown, but in --json: {', '.join(hidden)}")


def _pick(row: Sequence[object], indexes: Sequence[int]) -> list[object]:
    return [row[index] for index in indexes]
