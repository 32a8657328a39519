"""Rows that a search found, as the terminal shows them."""

from __future__ import annotations

import pytest

from sidecar.cli.found_rows import Match, is_emoji, print_match
from sidecar.demo.emoji import read_emoji
from sidecar.operations.search import FoundRows, SearchableWatch
from tests.terminal import terminal

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


@pytest.fixture
def emoji_rows() -> FoundRows:
    return found_rows(
        ["id", "name", "picture", "face"], (1, "crying cat", {"bytes": 9}, "😿"), (2, "a\tname", {"bytes": 9}, "👩‍🚀")
    )


def test_rows_with_an_emoji_become_lines_of_nearness_emoji_and_texts(
    monkeypatch: pytest.MonkeyPatch, emoji_rows: FoundRows
) -> None:
    with terminal(monkeypatch, 80) as screen:
        print_match(Match(emoji_rows, WATCH, None), None)
        assert screen.lines() == [
            "near      distance",
            "████████     0.000  😿  crying cat",
            "██████       0.250  👩‍🚀  a name",
        ]
        print_match(Match(emoji_rows, WATCH, [0.53, 0.001]), None)
        assert screen.lines() == [
            "near      match  distance",
            "████▎      53 %     0.000  😿  crying cat",
            "           <1 %     0.250  👩‍🚀  a name",
        ]


def test_a_search_without_a_near_row_says_so(monkeypatch: pytest.MonkeyPatch, emoji_rows: FoundRows) -> None:
    with terminal(monkeypatch, 80) as screen:
        print_match(Match(emoji_rows, WATCH, [0.004, 0.001]), None)
        assert "\nNothing near: by the model's own estimate" in screen.read()


def test_if_any_row_lacks_an_emoji_a_table_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, 80) as screen:
        print_match(Match(found_rows(["id", "face"], (1, "😿"), (2, "none")), WATCH, None), None)
        assert screen.lines()[0] == "id  near      distance  face"


def test_programs_get_all_columns_and_digits(capsys: pytest.CaptureFixture[str], emoji_rows: FoundRows) -> None:
    print_match(Match(emoji_rows, WATCH, [0.531234, 0.001]), None)
    assert capsys.readouterr().out.splitlines() == [
        "id\tmatch_probability\tdistance\tname\tpicture\tface",
        "1\t0.531234\t0.0\tcrying cat\t9\t😿",
        "2\t0.001\t0.25\ta name\t9\t👩‍🚀",
    ]


def test_chosen_columns_are_a_table(monkeypatch: pytest.MonkeyPatch, emoji_rows: FoundRows) -> None:
    with terminal(monkeypatch, 80) as screen:
        print_match(Match(emoji_rows, WATCH, None), "distance,name")
        assert screen.lines() == ["distance  name", "       0  crying cat", "    0.25  a name"]


@pytest.mark.parametrize("name", ["price, net", " title ", "distance", "near", "match_probability", "id,distance"])
def test_a_column_of_any_name_is_printed(capsys: pytest.CaptureFixture[str], name: str) -> None:
    print_match(Match(found_rows(["id", name], (1, "red")), WATCH, None), None)
    header, row = capsys.readouterr().out.splitlines()
    assert header == f"id\tdistance\t{name}"
    assert row.startswith("1\t")
    assert row.endswith("\tred")


def test_a_column_with_a_comma_in_its_name_can_be_chosen_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_match(Match(found_rows(["id", "price, net"], (1, "red")), WATCH, None), "price, net")
    assert capsys.readouterr().out == "price, net\nred\n"
