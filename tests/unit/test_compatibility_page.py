"""docs/compatibility.md promises nothing without a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
NAMED_TEST = re.compile(r"`([\w./-]+\.py)::(\w+)(?:\[[^`]*\])?`")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def rows(section: str) -> list[list[str]]:
    """Cells of the table, without its head."""
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_has_rows_and_each_says_what_happens_and_names_its_test(section: str) -> None:
    assert rows(section)
    for row in rows(section):
        assert len(row) == 3, row
        assert all(row), row
        assert NAMED_TEST.search(row[2]), row


@pytest.mark.parametrize("section", SECTIONS)
def test_every_test_that_is_named_exists(section: str) -> None:
    named = NAMED_TEST.findall(SECTIONS[section])
    missing = []
    for path, function in named:
        file = ROOT / "tests" / path.removeprefix("tests/")
        if not file.is_file() or function not in functions_of(file):
            missing.append(f"{path}::{function}")
    assert not missing
    assert len(named) >= SECTIONS[section].count("::test_"), "a test is not named as `path.py::test_name`"
