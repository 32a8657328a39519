"""Tables in docs/ whose last column names the tests of a row: `path.py::test_name`, below tests/."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMED_TEST = re.compile(r"`([\w./-]+\.py)::(\w+)(?:\[[^`]*\])?`")


def sections_of(page: str) -> dict[str, str]:
    """The text below each `## ` heading, by heading."""
    return dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))


def rows(section: str) -> list[list[str]]:
    """The cells of each row of the section's table, without its header."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def missing_tests(text: str) -> list[str]:
    """The tests that `text` names and that do not exist."""
    missing = []
    for path, function in NAMED_TEST.findall(text):
        file = ROOT / "tests" / path.removeprefix("tests/")
        if not file.is_file() or function not in _functions_of(file):
            missing.append(f"{path}::{function}")
    return missing


def _functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
