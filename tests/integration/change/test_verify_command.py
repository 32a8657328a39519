"""`sidecar verify` starts a verification, follows it, and reports what it found."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.command_line import CommandLine, Outcome
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import make_texts
from tests.integration.ingest.watched_table import Connection, run, value
from tests.waiting import wait_until_async


@pytest.fixture
def command_line(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.setenv("DATABASE_URL", database_url)
    return CommandLine(monkeypatch, capsys)


async def test_it_prints_how_many_rows_differ(
    database_url: str, db: Connection, encoder: GatedEncoder, command_line: CommandLine
) -> None:
    table = await make_texts(db, 20)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        said = await asyncio.to_thread(command_line.succeed, "verify", "items")
        assert said == "20 rows of items.embedding compared (1.4 KB): all as recorded.\n"

        await run(db, "set session_replication_role = replica")
        await run(db, "update items set title = 'unseen' where id <= 2")
        await run(db, "reset session_replication_role")
        found = json.loads(await asyncio.to_thread(command_line.succeed, "verify", "items", "--json"))
        assert (found["found"], found["rows_seen"], found["is_finished"]) == (2, 20, True)
        await table.settle_right(encoder)


async def test_without_a_running_sidecar_it_prints_a_hint_and_waits(
    database_url: str, db: Connection, encoder: GatedEncoder, command_line: CommandLine
) -> None:
    await make_texts(db, 3)
    waiting = asyncio.create_task(asyncio.to_thread(command_line, "verify", "items"), name="verify")

    async def has_started() -> bool:
        return bool(await value(db, "select exists (select from sidecar_internal.scans where purpose = 'verify')"))

    await wait_until_async(has_started, "the verification to start")
    async with running_ingest(database_url, encoder):
        outcome: Outcome = await waiting
    assert outcome.code == 0
    assert "HINT: It is verified as soon as a sidecar works on it" in outcome.stderr
    assert outcome.stdout.startswith("3 rows of items.embedding compared")


async def test_a_table_that_is_not_watched_is_an_error(db: Connection, command_line: CommandLine) -> None:
    await run(db, "create table items (id int primary key, title text)")
    assert "is not watched" in await asyncio.to_thread(command_line.fail, "verify", "items")


async def test_it_fails_if_the_table_is_unwatched_meanwhile(db: Connection, command_line: CommandLine) -> None:
    await make_texts(db, 3)
    waiting = asyncio.create_task(asyncio.to_thread(command_line, "verify", "items"), name="verify")

    async def has_started() -> bool:
        return bool(await value(db, "select exists (select from sidecar_internal.scans where purpose = 'verify')"))

    await wait_until_async(has_started, "the verification to start")
    await run(db, "select sidecar.unwatch('items')")
    outcome = await waiting
    assert outcome.code == 1
    assert "items.embedding is no longer watched" in outcome.stderr
