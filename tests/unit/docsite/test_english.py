"""What users read is English that a native speaker would write: phrases of a private dialect do not come back.

The pages in docs/reference hold the help of all commands, the OpenAPI document and the comments of the catalogue, and
docs/monitoring.md the help of all metrics; other tests keep them current.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_PHRASES = (
    r"behind your back",
    r"\b(?:go|goes|going|gone) on with\b",
    r"\bleft alone\b",
    r"\bleav(?:e|es|ing) (?:\w+ ){1,3}alone\b",
    r"\bmend(?:s|ed|ing)?\b",
    r"\b(?:take|takes|taken) up\b(?! to\b)",
    r"\b(?:is|are) done for\b",
    r"\bin hand\b",
    r"\bwhoever\b",
    r"\bthat which\b",
    r"\bstands?\b(?!-)",
    r"\bany longer\b",
    r"\bwill do\b",
    r"\bno part in\b",
    r"\bsays little\b",
    r"\bwhich nobody\b",
)
PHRASES = re.compile("|".join(_PHRASES), re.IGNORECASE)
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "deploy" / "README.md", *(ROOT / "docs").rglob("*.md")]
)
MODULES = sorted((ROOT / "sidecar").rglob("*.py"))
FUNCTIONS = sorted([*(ROOT / "sql" / "code").glob("*.sql"), *(ROOT / "sidecar" / "operations").glob("*.sql")])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_is_in_plain_english(path: Path) -> None:
    assert _found(enumerate(path.read_text().splitlines(), 1)) == []


def test_messages_help_and_settings_are_in_plain_english() -> None:
    found = {path: _found(_strings(path)) for path in MODULES}
    assert {str(path.relative_to(ROOT)): lines for path, lines in found.items() if lines} == {}


def test_messages_hints_and_comments_of_sql_functions_are_in_plain_english() -> None:
    found = {path: _found(_literals(path)) for path in FUNCTIONS}
    assert {str(path.relative_to(ROOT)): lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "phrase", ["it is left alone until somebody mends it", "Go on with what was paused.", "leaves the watch alone"]
)
def test_the_phrases_are_recognised(phrase: str) -> None:
    assert PHRASES.search(phrase)


def _found(texts: Iterator[tuple[int, str]] | enumerate[str]) -> list[str]:
    return [f"{line}: {text}" for line, text in texts if PHRASES.search(text)]


def _strings(path: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a module: messages, help and metrics; docstrings of commands and settings are in pages."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def _literals(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a script without its comments."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        yield number, line.partition("--")[0]
