"""docs/compatibility.md and docs/pictures.md promise nothing without a test."""

from __future__ import annotations

import pytest

from tests.named_tests import NAMED_TEST, ROOT, missing_tests, rows, sections_of

SECTIONS = [
    pytest.param(section, id=f"{page}-{title}")
    for page in ("compatibility", "pictures")
    for title, section in sections_of((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")).items()
]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_has_rows_and_each_says_what_happens_and_names_its_test(section: str) -> None:
    assert rows(section)
    for row in rows(section):
        assert len(row) == 3, row
        assert all(row), row
        assert NAMED_TEST.search(row[2]), row


@pytest.mark.parametrize("section", SECTIONS)
def test_every_test_that_is_named_exists(section: str) -> None:
    assert not missing_tests(section)
    named = NAMED_TEST.findall(section)
    assert len(named) >= section.count("::test_"), "a test is not named as `path.py::test_name`"
