"""Runs the SQL of docs/partitions.md in order, beside a sidecar, and compares the plans that it shows."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from tests.encoders import HashEncoder
from tests.integration.ingest.composition import running_ingest
from tests.waiting import wait_until_async

PAGE = Path(__file__).parents[3] / "docs" / "partitions.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
STATEMENT_END = re.compile(r";\n")
WORKING = """
    select not exists (select from sidecar.status where pending > 0 or index !~ '^(none|[a-z_.]+_hnsw_[0-9]+)$')
       and not exists (select from sidecar_internal.scans where finished_at is null)
"""
# For so few rows the planner would prefer them.
OTHER_PLANS = ("enable_seqscan", "enable_sort", "enable_bitmapscan")


class Reader:
    """Runs blocks in one session, and keeps the plan that the last one printed."""

    def __init__(self, session: psycopg.AsyncConnection) -> None:
        self.session = session
        self.plan = ""

    async def run(self, block: str) -> None:
        for statement in filter(str.strip, STATEMENT_END.split(block)):
            if statement.startswith("explain"):
                await self.until_done()
            cursor = await self.session.execute(statement.encode())
            if statement.startswith("explain"):
                self.plan = "\n".join(line for (line,) in await cursor.fetchall())

    async def until_done(self) -> None:
        async def is_done() -> bool:
            row = await (await self.session.execute(WORKING.encode())).fetchone()
            return row == (True,)

        await wait_until_async(is_done, "vectors and indexes", timeout_s=30)

    async def count(self, query: str) -> int:
        row = await (await self.session.execute(query.encode())).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[Reader]:
    async with (
        running_ingest(database_url, HashEncoder(), sweep_interval_s=1),
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as session,
    ):
        for setting in OTHER_PLANS:
            await session.execute(f"set {setting} = off".encode())
        yield Reader(session)


async def test_every_statement_of_the_page_works_and_searches_use_the_partitions_it_names(reader: Reader) -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = BLOCK.findall(page)
    assert len(blocks) == page.count("```") // 2 > 15
    for language, block in blocks:
        if language == "sql":
            await reader.run(block)
            continue
        assert all(line in reader.plan for line in block.splitlines()), f"not as in {block}\n{reader.plan[:2000]}"
        assert reader.plan.count("Index Scan") == block.count("Index Scan"), f"not as in {block}\n{reader.plan[:2000]}"

    await reader.until_done()
    missing = "select count(*) from {} where embedding is null"
    assert [await reader.count(missing.format(table)) for table in ("photos", "notes", "items", "articles")] == [0] * 4

    async def is_swept() -> bool:
        entries = await reader.count("select count(*) from sidecar_internal.ledger_1 where content_hash is not null")
        return entries == await reader.count("select count(*) from photos")

    await wait_until_async(is_swept, "the sweep to find what went with the dropped partition")
