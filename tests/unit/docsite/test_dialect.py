"""What forges show as a list or as code is one in the site."""

from __future__ import annotations

import markdown
import pytest

from docsite.dialect import for_python_markdown


def _html(page: str) -> str:
    return str(markdown.markdown(for_python_markdown(page), extensions=["tables", "fenced_code"]))


@pytest.mark.parametrize("mark", ["-", "*", "1."])
@pytest.mark.parametrize("above", ["Two things:", "```\ncode\n```", "# Heading", "| a |\n|---|\n| b |"])
def test_a_list_right_below_other_text_is_a_list(above: str, mark: str) -> None:
    html = _html(f"{above}\n{mark} one,\n   and more of it\n{mark} two")
    assert html.count("<li>") == 2


def test_a_bar_in_the_code_of_a_cell_has_no_backslash() -> None:
    assert "<code>&lt;text|image&gt;</code>" in _html("| a | b |\n|---|---|\n| `<text\\|image>` | x |")


def test_code_blocks_stay_as_they_are() -> None:
    page = "```text\nUsage:\n- one\n| `a\\|b` |\n```\n\n~~~\nx\n- y\n~~~"
    assert for_python_markdown(page) == page


def test_a_line_that_begins_with_a_number_or_a_dash_within_a_list_stays_in_it() -> None:
    page = "- one\n- two\n  - three\n\n1. four\n2. five"
    assert for_python_markdown(page) == page
