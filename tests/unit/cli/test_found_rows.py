"""Rows that a search found, as the terminal shows them."""

from __future__ import annotations

import pytest

from sidecar.cli.found_rows import is_emoji, print_found_rows
from sidecar.demo.emoji import read_emoji
from sidecar.operations.search import FoundRows, SearchableWatch

WATCH = SearchableWatch("emoji", "e", "image", 3, None, None, ["id"])


def found_rows(columns: list[str], *rows: tuple[object, ...]) -> FoundRows:
    return FoundRows(
        columns, list(rows), [0.25 * number for number in range(len(rows))], [{"id": row[0]} for row in rows]
    )


def test_every_emoji_of_the_demo_is_recognised() -> None:
    assert [row.name for row in read_emoji() if not is_emoji(row.emoji)] == []


@pytest.mark.parametrize(
    "value", ["cat", "A", "5", "#", "", " ", "+", "€", "©", "hello 😀", "naïve", None, 5, {"bytes": 3}]
)
def test_other_values_are_no_emoji(value: object) -> None:
    assert not is_emoji(value)


def test_rows_with_an_emoji_become_lines_of_distance_emoji_and_texts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = found_rows(
        ["id", "name", "picture", "face"], (1, "crying cat", {"bytes": 9}, "😿"), (2, "a\tname", {"bytes": 9}, "👩‍🚀")
    )
    print_found_rows(found, WATCH)
    assert capsys.readouterr().out.splitlines() == ["distance", "   0.000  😿  crying cat", "   0.250  👩‍🚀  a name"]


def test_if_any_row_lacks_an_emoji_a_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_found_rows(found_rows(["id", "face"], (1, "😿"), (2, "none")), WATCH)
    assert "┃" in capsys.readouterr().out
