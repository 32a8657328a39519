"""Commands that are stopped (Ctrl-Z) in the middle of their work."""

from __future__ import annotations

import asyncio
import time

import pytest
from pydantic import SecretStr

from sidecar.concurrency import background
from sidecar.errors import DatabaseUnavailable
from sidecar.operations.operations import WatchRequest, open_operations
from tests.integration.ingest.message_proxy import message_proxy
from tests.integration.ingest.watched_table import run, user, value

BOUND_S = 5.0


def watch(url: str, table: str) -> None:
    with open_operations(SecretStr(url), lambda _message, _hint: None) as operations:
        request = WatchRequest(table, ["title"], target="embedding", dimensions=16, index="none", companion=None)
        operations.watch(request)
        operations.set_paused(table, "embedding", paused=True)
        operations.unwatch(table, "embedding", drop_target=True)


async def watch_until_frozen(database_url: str, table: str, messages: float) -> tuple[list[str], float]:
    """Stops `watch` after some messages. Returns the messages, and how long a user then waited for the table."""
    async with message_proxy(database_url) as way:
        way.freeze_after(messages)
        command = asyncio.create_task(asyncio.to_thread(watch, way.url, table))
        async with background(way.frozen.wait(), "frozen") as frozen:
            await asyncio.wait([command, frozen], return_when=asyncio.FIRST_COMPLETED)
        passed, began = list(way.passed), time.monotonic()
        async with user(database_url) as session:
            await run(session, f"set lock_timeout = '{2 * BOUND_S} s'")
            await run(session, f"insert into {table} values (1, 'x')")
            await run(session, f"alter table {table} add other integer")
        waited_s = time.monotonic() - began
        way.thaw()
        [error] = await asyncio.gather(command, return_exceptions=True)
        assert error is None or isinstance(error, DatabaseUnavailable), error
    return passed, waited_s


async def test_a_stopped_command_does_not_block_users(database_url: str) -> None:
    """Stopped after each message that it sends, each time with another table."""
    async with user(database_url) as db:
        await run(db, "create table measured (id bigint primary key, title text)")
        messages, _ = await watch_until_frozen(database_url, "measured", float("inf"))
        for i in range(len(messages)):
            await run(db, f"create table frozen_{i} (id bigint primary key, title text)")
    ends = await asyncio.gather(*(watch_until_frozen(database_url, f"frozen_{i}", i + 1) for i in range(len(messages))))
    waits_s = {f"{i + 1} {passed[-1]}": waited_s for i, (passed, waited_s) in enumerate(ends)}
    assert max(waits_s.values()) < BOUND_S, waits_s


@pytest.mark.parametrize("name", ["Ünusual $1 \"name\" '%s'", "back\\slash $2", "; drop table x; --"])
async def test_parameters_of_a_command_are_quoted(database_url: str, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    async with user(database_url) as db:
        await run(db, "create table x (id bigint primary key)")
        await run(db, f"create table {quoted} (id bigint primary key, title text)")
        await asyncio.to_thread(watch, database_url, quoted)
        assert await value(db, "select count(*) from x") == 0
