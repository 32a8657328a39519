"""docs/clients.md promises nothing without a test, and every recipe is followed by one."""

from __future__ import annotations

import json
import re

import pytest

from tests.named_tests import NAMED_TEST, ROOT, missing_tests, rows, sections_of

PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
CLIENTS = {heading: text for heading, text in sections_of(PAGE).items() if "| Client |" in text}
TESTS_OF_RECIPES = [
    path.read_text(encoding="utf-8")
    for folder in ("clients", "integration/recipes")
    for path in (ROOT / "tests" / folder).glob("test_*.py")
]


@pytest.mark.parametrize("section", CLIENTS)
def test_every_row_says_whether_it_works_with_what_and_names_its_test(section: str) -> None:
    assert rows(CLIENTS[section])
    for client, works, _with, test in rows(CLIENTS[section]):
        assert works in {"unchanged", "with an option", "with a view", "with a recipe", "not run", "no"}, client
        assert NAMED_TEST.search(test) or works == "not run", client
    assert not missing_tests(CLIENTS[section])


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "docs" / "recipes").glob("*.md")))
def test_every_recipe_is_followed_by_a_test_and_listed(name: str) -> None:
    assert any(f'"{name}"' in text for text in TESTS_OF_RECIPES)
    assert f"recipes/{name}" in PAGE


def test_the_clients_are_pinned() -> None:
    lines = (ROOT / "tests" / "clients" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if line and not line.startswith("#") and not re.fullmatch(r"[\w.-]+==\S+", line)]
    package = json.loads((ROOT / "tests" / "clients" / "package.json").read_text(encoding="utf-8"))
    assert not [version for version in package["dependencies"].values() if not version[0].isdigit()]
