"""Files of named statements."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.postgres.shipped import PACKAGE
from sidecar.postgres.statements import read_statements, statements

FILES = sorted(path for package in ("postgres", "operations") for path in (PACKAGE / package).rglob("*.sql"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_statement_is_sent_without_comments_that_a_value_could_end(path: Path) -> None:
    for name, text in read_statements(".".join(path.parent.relative_to(PACKAGE.parent).parts), path.name).items():
        assert text, name
        for comment in (line.partition("--")[2] for line in text.splitlines()):
            assert "$" not in comment, (name, comment)


def test_the_running_sidecar_s_statements_are_those_of_all_files_beside_its_modules() -> None:
    counts = [
        len(read_statements("sidecar.postgres", path.name)) for path in FILES if path.parent == PACKAGE / "postgres"
    ]
    assert len(statements()) == sum(counts)
