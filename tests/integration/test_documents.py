"""SQL in the documents works."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from tests.encoders import HashEncoder
from tests.integration.ingest.composition import running_ingest

ROOT = Path(__file__).parents[2]
SQL_BLOCK = re.compile(r"^ *```sql\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def sql_blocks(document: str, below: str) -> list[str]:
    """The SQL blocks of a document, from the heading `below` on."""
    text = (ROOT / document).read_text(encoding="utf-8")
    assert below in text, f"{document} has no {below!r}"
    return SQL_BLOCK.findall(text[text.index(below) :])


@pytest.mark.parametrize(
    ("document", "below", "blocks"),
    [
        ("docs/sql.md", "# SQL", 7),
        ("docs/changing-tables.md", "# Changing watched tables", 8),
        ("docs/moving-from-pgai.md", "## In what order", 3),
    ],
)
async def test_sql_blocks_run_in_order_beside_a_running_sidecar(
    database_url: str, document: str, below: str, blocks: int
) -> None:
    found = sql_blocks(document, below)
    assert len(found) >= blocks
    async with (
        running_ingest(database_url, HashEncoder()),
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection,
    ):
        for block in found:
            for statement in filter(str.strip, block.split(";\n")):
                await connection.execute(statement.encode())


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?:^|`)make ([a-z]+)\b", readme, re.MULTILINE))
    assert targets >= {"run", "check"}
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
