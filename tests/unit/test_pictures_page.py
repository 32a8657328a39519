"""docs/pictures.md promises nothing without a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.test_compatibility_page import NAMED_TEST, ROOT, functions_of

PAGE = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.endswith("| Test |")
]


def test_every_section_has_rows() -> None:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]

    assert len(sections) >= 8
    assert all("\n| " in section for section in sections)
    assert len(ROWS) >= 50


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_every_row_says_what_happens_and_names_tests_that_exist(row: list[str]) -> None:
    assert len(row) == 3
    assert all(row)
    named = NAMED_TEST.findall(row[2])
    assert named
    assert len(named) == row[2].count("::test_")
    missing = [name for path, name in named if name not in _functions(ROOT / "tests" / path)]
    assert not missing


def _functions(path: Path) -> set[str]:
    return functions_of(path) if path.is_file() else set()
