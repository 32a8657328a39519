"""Tables and facts, on terminals of several widths and without one."""

from __future__ import annotations

import pytest
import typer

from sidecar.cli.tables import hang, print_facts, print_table
from tests.terminal import terminal

COLUMNS = ("watch", "key", "reason", "message", "attempts")
MESSAGE = "It is not a picture, of none of the formats that are known: it begins with %PDF-1.7"
ROWS = [("products.photo_embedding", '{"id": 12345}', "not_a_picture", MESSAGE, 5)]


@pytest.mark.parametrize("columns", [60, 80, 120, 150])
def test_no_value_is_cut_at_any_width(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    with terminal(monkeypatch, columns) as screen:
        print_table(COLUMNS, ROWS)
        lines = screen.lines()
    assert all(len(line) <= columns for line in lines)
    words = " ".join(lines).split()
    assert all(word in words for value in ROWS[0] for word in str(value).split())


def test_a_table_that_fits_is_aligned_with_numbers_on_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, 80) as screen:
        print_table(("name", "rows", "note"), [("茶", 5, None), ("a\tb", 1234, "[red]x[/red]")])
        lines = screen.lines()
    assert lines == ["name  rows  note", "茶       5", "a b   1234  [red]x[/red]"]


def test_a_table_that_does_not_fit_is_a_block_per_record(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, 60) as screen:
        print_table(COLUMNS, ROWS * 2)
        lines = screen.lines()
    assert lines[:6] == [
        "watch     products.photo_embedding",
        'key       {"id": 12345}',
        "reason    not_a_picture",
        "message   It is not a picture, of none of the formats that",
        "          are known: it begins with %PDF-1.7",
        "attempts  5",
    ]
    assert lines[6:7] == [""]
    assert len(lines) == 13


def test_the_widest_column_wraps_if_that_leaves_it_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, 120) as screen:
        print_table(COLUMNS, ROWS)
        lines = screen.lines()
    assert len(lines) == 3
    assert lines[2].strip().endswith("begins with %PDF-1.7")


def test_without_a_terminal_values_are_tab_separated_below_one_line_of_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("name", "distance", "photo"), [("a\tb\nc", 0.123456789, {"bytes": 2048}), ("x" * 100, None, None)])
    assert capsys.readouterr().out == f"name\tdistance\tphoto\na b c\t0.123456789\t2048\n{'x' * 100}\t\t\n"


def test_chosen_columns_are_printed_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, ROWS, "attempts, reason")
    assert capsys.readouterr().out == "attempts\treason\n5\tnot_a_picture\n"


def test_an_unknown_column_is_refused_with_a_similar_one_and_all_names() -> None:
    with pytest.raises(typer.BadParameter, match=r"no column 'reasn'. Did you mean reason\? The columns: watch, key"):
        print_table(COLUMNS, ROWS, "reasn")


def test_facts_wrap_below_themselves_and_commands_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {
        "rows": "1,234,567: 12,345 embedded (99 %), 1,221 pending",
        "oldest": None,
        "failed": "3 rows, 1 being tried again: sidecar failures products --target photo_embedding",
        "build": "create index concurrently products_photo on products using hnsw (photo);",
    }
    with terminal(monkeypatch, 40) as screen:
        print_facts(facts, label_width=7)
        lines = screen.lines()
    assert lines == [
        "    rows   1,234,567: 12,345 embedded",
        "           (99 %), 1,221 pending",
        "    failed 3 rows, 1 being tried again:",
        "           sidecar failures products --target photo_embedding",
        "    build  create index concurrently products_photo on products using hnsw (photo);",
    ]


def test_without_a_terminal_a_fact_is_one_line() -> None:
    assert hang("why    ", "word " * 100) == "why    " + "word " * 100


@pytest.mark.parametrize(("environment", "is_coloured"), [({}, False), ({"NO_COLOR": ""}, True)])
def test_a_terminal_has_colours_without_no_color(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], is_coloured: bool
) -> None:
    with terminal(monkeypatch, 80, **environment) as screen:
        print_table(("name",), [("x",)])
        text = screen.read()
    assert ("\x1b[1m" in text) is is_coloured
