"""What the package sends to a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.postgres.shipped import PACKAGE, sql_directory

SHIPPED = sorted([*sql_directory().rglob("*.sql"), *PACKAGE.rglob("*.sql")])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_statements_are_ascii_comments_too(path: Path) -> None:
    """A server whose encoding lacks a character refuses the whole statement, as LATIN1 a dash."""
    text = path.read_text(encoding="utf-8")
    foreign = sorted({character for character in text if not character.isascii()})
    assert not foreign, f"write them in ASCII, such as -> and ...: {' '.join(foreign)}"
