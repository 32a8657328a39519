"""Rows found by a search: a table, or lines with an emoji each."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from sidecar.cli.nearness import NOTHING_NEAR, draw_bar, is_nothing_near, show_probability
from sidecar.cli.output import shorten, show
from sidecar.cli.tables import hang, is_for_people, print_columns, print_note, print_table

if TYPE_CHECKING:
    from sidecar.operations.search import FoundRows, SearchableWatch

_MAX_COLUMNS = 6
_TEXT_CHARS = 300
_SHOWN_AS_PICTURE = "\N{VARIATION SELECTOR-16}"
_KEYCAP = "\N{COMBINING ENCLOSING KEYCAP}"
_FIRST_SYMBOL = "\N{DOUBLE EXCLAMATION MARK}"
_SYMBOLS = {"So", "Sm"}
_JOINING = {"Cf", "Mn", "Me", "Sk"}  # joiners, selectors, skin tones, tags of flags


@dataclass(frozen=True, slots=True)
class Match:
    """Rows that a search has found on a watch, and for each the probability of a match, if that means anything."""

    found: FoundRows
    watch: SearchableWatch
    probabilities: list[float] | None


def print_match(match: Match, chosen: str | None) -> None:
    """Prints a table, of the `chosen` columns; for people without a choice, lines if every row has an emoji."""
    emoji = _find_emoji_column(match.found) if is_for_people() and chosen is None else None
    if emoji is None:
        _print_table(match, chosen)
    else:
        _print_lines(match, emoji)
    if match.probabilities is not None and is_nothing_near(match.probabilities):
        print_note(hang("", NOTHING_NEAR))


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


def _print_lines(match: Match, emoji: int) -> None:
    """Nothing after the emoji is aligned: terminals disagree about the width of some."""
    found = match.found
    heads = ["near    ", *(["match"] if match.probabilities else []), "distance"]
    typer.echo("  ".join(heads))
    for distance, chance, row in zip(found.distances, _chances(match), found.rows, strict=True):
        texts = [show(row[index]) for index in _text_columns(found, match.watch, emoji)]
        numbers = [draw_bar(distance, chance), *([] if chance is None else [f"{show_probability(chance):>5}"])]
        label = "  ".join([*numbers, f"{distance:8.3f}", f"{row[emoji]}  "])
        typer.echo(hang(label, shorten(" · ".join(filter(None, texts)), _TEXT_CHARS)))


def _chances(match: Match) -> Sequence[float | None]:
    return match.probabilities or [None] * len(match.found.rows)


def _text_columns(found: FoundRows, watch: SearchableWatch, emoji: int) -> list[int]:
    """The columns that hold texts, by index, except the key and the column `emoji`."""
    return [
        index
        for index, column in enumerate(found.columns)
        if index != emoji and column not in watch.key_columns and any(isinstance(row[index], str) for row in found.rows)
    ]


def _print_table(match: Match, chosen: str | None) -> None:
    found, watch = match.found, match.watch
    keys = [index for index, column in enumerate(found.columns) if column in watch.key_columns]
    others = [index for index in range(len(found.columns)) if index not in keys]
    names = [found.columns[index] for index in (*keys, *others)]
    names[len(keys) : len(keys)] = ["near", "match_probability", "distance"]
    rows = [
        (*_pick(row, keys), *_measures(distance, chance), *_pick(row, others))
        for distance, chance, row in zip(found.distances, _chances(match), found.rows, strict=True)
    ]
    if chosen is not None:
        print_table(names, rows, chosen)
        return
    near, most = len(keys), len(keys) + 3 + _MAX_COLUMNS
    left_out = set(range(most, len(names))) if is_for_people() else {near}
    left_out |= {near + 1} if match.probabilities is None else set()
    print_columns(names, rows, [index for index in range(len(names)) if index not in left_out])
    if is_for_people() and (hidden := names[most:]):
        print_note(f"Not shown, but in --json and with --columns: {', '.join(hidden)}")


def _measures(distance: float, chance: float | None) -> tuple[object, ...]:
    if not is_for_people():
        return None, chance, distance
    return draw_bar(distance, chance), None if chance is None else show_probability(chance), round(distance, 3)


def _pick(row: Sequence[object], indexes: Sequence[int]) -> list[object]:
    return [row[index] for index in indexes]
