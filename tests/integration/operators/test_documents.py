"""The SQL and shell blocks of docs/operations.md run in order beside a running sidecar.

Not those marked `bash`: `sidecar bench` needs a model and pictures, which tests/integration/cli/test_bench.py has.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sidecar.operations.checkup import check_statements
from tests.command_line import CommandLine
from tests.encoders import HashEncoder
from tests.integration.ingest.composition import running_ingest
from tests.waiting import wait_until_async

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(sql|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
MADE_ELSEWHERE = {"migrations", "code", "clock", "connection", "listener"}


async def test_the_blocks_of_the_page_run_in_order(
    database_url: str, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    blocks = BLOCK.findall(PAGE)
    assert {language for language, _ in blocks} == {"sql", "sh"}
    assert len(blocks) >= 14
    async with (
        running_ingest(database_url, HashEncoder()),
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection,
    ):
        for language, text in blocks:
            if "reindex" in text or "sidecar recall" in text:
                await settle(connection)
            for line in filter(str.strip, text.split(";\n") if language == "sql" else text.splitlines()):
                if language == "sql":
                    await connection.execute(line.encode())
                else:
                    await asyncio.to_thread(type_in, command_line, line)


async def settle(connection: psycopg.AsyncConnection[Any]) -> None:
    """Waits until everything is embedded and the index is built."""

    async def is_settled() -> bool:
        cursor = await connection.execute(b"select state = 'up to date' and index like '%hnsw%' from sidecar.status")
        row = await cursor.fetchone()
        return row is not None and bool(row[0])

    await wait_until_async(is_settled, "the index", timeout_s=30)


def type_in(command_line: CommandLine, line: str) -> None:
    program, *arguments = shlex.split(line)
    assert program == "sidecar"
    outcome = command_line(*arguments)
    # Right after `watch` the index may not be built yet, of which doctor warns.
    assert outcome.code in ({0, 3} if arguments[0] == "doctor" else {0}), outcome
    if "--json" in arguments:
        json.loads(outcome.stdout)


def test_the_page_names_every_check() -> None:
    table = PAGE.partition("| Check |")[2].partition("\n\n")[0]
    named = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1]) if "|" in line}
    assert named == set(check_statements()) | MADE_ELSEWHERE
