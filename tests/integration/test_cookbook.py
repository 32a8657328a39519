"""Runs the SQL and the requests of the cookbook in order beside a sidecar, and compares their results.

A block of results follows its block of SQL. Below `explain` it has parts of lines that the plan must contain, otherwise
a header and rows with cells separated by bars.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from PIL import Image

from tests.integration.server.process import Process, sidecar_process
from tests.waiting import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "cookbook.md"
BLOCK = re.compile(r"^```(sql|sh|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SERVICE = "http://127.0.0.1:9000"
INDEXED = "select count(*) from sidecar.status where index like '%_hnsw_%'"

STATEMENT_END = re.compile(r";(?: --.*)?\n")

Table = list[list[str]]


@dataclass(slots=True)
class Reader:
    """Runs the blocks of the page. `vector` is that of the last request."""

    connection: psycopg.Connection[tuple[Any, ...]]
    process: Process
    directory: Path
    vector: str = ""
    answer: Table = field(default_factory=list)

    def request(self, command: str) -> None:
        command = command.replace(SERVICE, self.process.url)
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=self.directory, capture_output=True, text=True, check=True
        )
        self.vector = str(json.loads(done.stdout)["embedding"])

    def run(self, block: str) -> None:
        """Runs the block's statements and keeps the rows of the last one that returns any."""
        if "explain" in block:
            wait_until(lambda: self.connection.execute(INDEXED).fetchone() == (2,), "the sidecar to build both indexes")
        for statement in filter(str.strip, STATEMENT_END.split(block)):
            parameters = [self.vector] if "$1" in statement else None
            cursor = self.connection.execute(statement.encode(), parameters)
            if cursor.description is not None:
                rows = [list(map(as_cell, row)) for row in cursor.fetchall()]
                self.answer = [[column.name for column in cursor.description], *rows]

    def compare(self, expected: str, printed: str) -> None:
        if self.answer[0] == ["QUERY PLAN"]:
            plan = "\n".join(row[0] for row in self.answer[1:])
            assert all(line in plan for line in expected.splitlines()), f"not as in {expected}\n{plan}"
        else:
            assert expected == printed, f"the page says\n{expected}\nbut the answer is\n{printed}"


def as_cell(value: object) -> str:
    if isinstance(value, bool):
        return "t" if value else "f"
    return "" if value is None else json.dumps(value) if isinstance(value, dict) else str(value)


def as_text(table: Table) -> str:
    """`table` aligned as by psql."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    lines.insert(1, "-+-".join("-" * width for width in widths))
    return "\n".join(lines) + "\n"


@pytest.fixture
def reader(database_url: str, tmp_path: Path) -> Iterator[Reader]:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    program = ("-m", "tests.integration.server.program", "words")
    with (
        sidecar_process(tmp_path, program, DATABASE_URL=database_url) as process,
        psycopg.connect(database_url, autocommit=True, cursor_factory=psycopg.RawCursor) as connection,
    ):
        process.await_ready()
        yield Reader(connection, process, tmp_path)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_every_block_of_the_cookbook_works_as_written(reader: Reader) -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = BLOCK.findall(page)
    assert len(blocks) == page.count("```") // 2 > 40, "a block is neither sql, sh nor text"
    for language, block in blocks:
        if language == "sh":
            reader.request(block)
        elif language == "sql":
            reader.run(block)
        else:
            reader.compare(block, as_text(reader.answer))
