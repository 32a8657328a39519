"""A sidecar that is frozen during its work: users wait no longer than the README says, and nothing stale is written.

Its way to the server freezes after each protocol message in turn: Parse, Bind, Execute, Sync, Query.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from sidecar.concurrency import background
from sidecar.errors import DatabaseError
from sidecar.postgres import session_guard
from sidecar.postgres.clearing import clear_page
from sidecar.postgres.completion import RowOutcome, RowResult, complete
from sidecar.postgres.database import Connection as OurConnection
from sidecar.postgres.database import Database, close_session, open_session
from sidecar.postgres.events import ClaimRequest, Lease, Queue, claim
from sidecar.postgres.rows import key_parameters
from sidecar.postgres.session_guard import SessionGuard
from sidecar.postgres.vectors import pack_vectors, vector_digest
from sidecar.postgres.watches import Watch, load_watches
from tests.encoders import HashEncoder
from tests.integration.ingest.composition import DIMENSIONS, running_ingest
from tests.integration.ingest.message_proxy import MessageProxy, message_proxy
from tests.integration.ingest.processes import START_S, sidecar_process
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value, watch
from tests.waiting import wait_until_async

BOUND_S = 5.0  # as the README promises
ROWS = 8
STOPS = 5
ENCODER = HashEncoder(dimensions=DIMENSIONS)
Work: TypeAlias = Callable[[OurConnection, Watch], Awaitable[object]]
# ALTER TABLE waits even for transactions that have only read the table.
EDIT, ALTER = "update {} set title = title || '!'", "alter table {} add other integer"

WAITING_BUILD = "select pid from pg_stat_activity where query like 'create index conc%' and wait_event_type = 'Lock'"


async def write_vectors(
    connection: OurConnection,
    watch: Watch,
) -> None:
    """Writes half of the rows, so that it can be called twice."""
    lease = Lease(uuid4(), 60)
    events = await claim(connection, watch, ClaimRequest(Queue.LIVE, ROWS // 2), [0], lease)
    titles = [f"title {e.key[0]}" for e in events if e.key is not None]
    packed = pack_vectors([ENCODER.vector_of(title) for title in titles], "vector")
    results = [
        RowResult(
            event.key or (),
            (event.gen,),
            RowOutcome.VECTOR,
            hashlib.sha256(title.encode()).digest(),
            packed_vector=vector,
            vector_digest=vector_digest(vector),
        )
        for event, title, vector in zip(events, titles, packed, strict=True)
    ]
    await complete(connection, watch, ENCODER.fingerprint, lease, results)


async def read_rows(connection: OurConnection, watch: Watch) -> None:
    keys = key_parameters([(str(i),) for i in range(1, ROWS)])
    await connection.fetch(watch.sql("read_rows"), 10**6, 10**6, True, True, 10**6, 10**6, *keys)


@dataclass(frozen=True, slots=True)
class Operation:
    """Something a sidecar does with a table, while `scan` is running."""

    work: Work
    scan: str | None = None


# Whether the statements are already prepared, and the operation. (All other operations take the locks of one of these.)
OPERATIONS = {
    "cold-complete": (False, Operation(write_vectors)),
    "warm-complete": (True, Operation(write_vectors)),
    "warm-read": (True, Operation(read_rows)),
    "cold-clear": (False, Operation(partial(clear_page, max_rows=ROWS // 2), "clear")),
}


@asynccontextmanager
async def guarded(database_url: str) -> AsyncIterator[None]:
    """Runs the guard of a sidecar whose way to the server is frozen too."""
    async with message_proxy(database_url) as way:
        database = Database(SecretStr(way.url))
        guard = SessionGuard(database)
        async with background(guard.run(), "guard"):
            await guard.hold()

            async def watches() -> bool:
                return way.passed.count("Q") == 2  # its setup, and the guard itself

            await wait_until_async(watches, "the guard to run")
            way.freeze_after(0)
            try:
                yield
            finally:
                way.thaw()


@asynccontextmanager
async def way_to(database_url: str) -> AsyncIterator[tuple[MessageProxy, Database]]:
    async with message_proxy(database_url) as way:
        database = Database(SecretStr(way.url), max_connections=1)
        await database.open()
        try:
            yield way, database
        finally:
            way.thaw()
            await database.close()


async def make_table(db: Connection, name: str, operation: Operation) -> WatchedTable:
    await run(db, f"create table {name} (id bigint primary key, title text)")
    made = await watch(db, [name], ["title"])
    await run(db, f"insert into {name} select i, 'title ' || i from generate_series(1, {ROWS}) i")
    await run(db, "update sidecar_internal.watches set fingerprint = %s, encoder = 'hash'", ENCODER.fingerprint)
    await run(db, "update sidecar_internal.scans set finished_at = now() where watch_id = %s", made.watch_id)
    if operation.scan is not None:
        await run(
            db,
            "insert into sidecar_internal.scans (watch_id, purpose) values (%s, %s) on conflict (watch_id, purpose) "
            "do update set finished_at = null",
            made.watch_id,
            operation.scan,
        )
    return made


async def load(database: Database, table: WatchedTable) -> Watch:
    async with database.connection() as connection:
        return next(w for w in await load_watches(connection) if w.id == table.watch_id)


@dataclass(frozen=True, slots=True)
class ReadySidecar:
    """A sidecar that has loaded the watch of a table. `database_url`: where users connect to, whatever its own way."""

    database_url: str
    way: MessageProxy
    database: Database
    table: WatchedTable
    watch: Watch
    operation: Operation

    async def work_until_frozen(self, messages: float) -> tuple[list[str], float]:
        """Returns the messages that passed, and how long a user then waited for the whole table."""
        way = self.way
        way.freeze_after(messages)
        async with background(self._work(), "work") as working, background(way.frozen.wait(), "frozen") as freezing:
            await asyncio.wait([working, freezing], return_when=asyncio.FIRST_COMPLETED)
            passed = list(way.passed)
            waited_s = await _wait_as_user(self.database_url, self.table) if way.frozen.is_set() else 0.0
            way.thaw()
            await asyncio.wait([working])
        assert passed, working.result()
        return passed, waited_s

    async def _work(self) -> DatabaseError | None:
        try:
            async with self.database.connection() as connection:
                await self.operation.work(connection, self.watch)
        except DatabaseError as error:
            return error  # the server ended the session, as it should
        return None


@asynccontextmanager
async def ready_sidecar(
    database_url: str, table: WatchedTable, operation: Operation, *, warm: bool, pooler: str = ""
) -> AsyncIterator[ReadySidecar]:
    """`pooler` is in between. To be entered before a guard runs, which may end the session of a busy machine's load."""
    async with way_to(pooler or database_url) as (way, database):
        watched = await load(database, table)
        if warm:
            async with database.connection() as connection:
                await operation.work(connection, watched)
        yield ReadySidecar(database_url, way, database, table, watched, operation)


async def _wait_as_user(database_url: str, table: WatchedTable) -> float:
    async with user(database_url) as session:
        name = table.table.as_string(session)
        await run(session, f"set lock_timeout = '{2 * BOUND_S} s'")
        began = time.monotonic()
        await run(session, EDIT.format(name))
        await run(session, ALTER.format(name))
        return time.monotonic() - began


@pytest.mark.parametrize(("warm", "operation"), OPERATIONS.values(), ids=OPERATIONS.keys())
async def test_users_wait_for_a_frozen_sidecar_no_longer_than_the_bound(
    database_url: str, db: Connection, warm: bool, operation: Operation
) -> None:
    """Freezes after each message of an operation, all of them at once, each with a table of its own."""
    ready = partial(ready_sidecar, database_url, operation=operation, warm=warm)
    async with ready(await make_table(db, "measured", operation)) as sidecar:
        messages, _ = await sidecar.work_until_frozen(float("inf"))
    tables = [await make_table(db, f"frozen_{i}", operation) for i in range(len(messages))]
    async with AsyncExitStack() as stack:
        sidecars = [await stack.enter_async_context(ready(table)) for table in tables]
        async with guarded(database_url):
            ends = await asyncio.gather(*(each.work_until_frozen(i + 1) for i, each in enumerate(sidecars)))
    waits_s = {f"{i + 1} {passed[-1]}": waited_s for i, (passed, waited_s) in enumerate(ends)}
    assert max(waits_s.values()) < BOUND_S, waits_s
    assert len(set(messages)) > 2

    async with running_ingest(database_url, ENCODER):
        for table in tables:
            await table.settle_after_crashes()
            assert not (wrong := await table.wrong(ENCODER)), wrong


async def test_the_guard_ends_when_its_hold_is_over(
    database_url: str, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It once ran ten seconds longer, and its hundred transactions looked like those of idle watches."""
    monkeypatch.setattr(session_guard, "HOLD_S", 0.5)
    guard = SessionGuard(Database(SecretStr(database_url)))
    ended = (
        "select count(*) from pg_stat_activity where datname = current_database() and state = 'idle' "
        "and query like '%do $guard$%' and pid <> pg_backend_pid()"
    )

    async def has_ended() -> bool:
        return bool(await value(db, ended))

    async with background(guard.run(), "guard"):
        await guard.hold()
        await wait_until_async(has_ended, "the guard to end", timeout_s=7)


async def test_an_index_build_of_a_frozen_sidecar_gives_way(database_url: str, db: Connection) -> None:
    """A sidecar that is not frozen would cancel its build itself."""
    await run(db, "create table items (id bigint primary key, title text)")
    build = await open_session(SecretStr(database_url))
    await build.execute("set lock_timeout = 0")
    async with guarded(database_url), user(database_url, autocommit=False) as writer:
        await run(writer, "insert into items values (1, 'x')")  # a concurrent build waits for this transaction
        task = asyncio.create_task(build.execute("create index concurrently items_title on public.items (title)"))

        async def waits() -> bool:
            return bool(await run(db, WAITING_BUILD))

        await wait_until_async(waits, "the build to wait")
        began = time.monotonic()
        await run(db, "alter table items set (fillfactor = 90)")  # waits for nothing but the build
        assert time.monotonic() - began < BOUND_S
        with pytest.raises(asyncpg.QueryCanceledError):
            await task
    await close_session(build)


async def test_a_stopped_process_blocks_no_user_and_writes_nothing_stale_when_it_continues(
    database_url: str, db: Connection
) -> None:
    """SIGSTOP comes at random moments while 128 vectors of 1,152 dimensions are written."""
    encoder, rng, waits_s = HashEncoder(), random.Random(7), []
    await run(db, "create table items (id bigint primary key, title text)")
    table = await watch(db, ["items"], ["title"], dimensions=encoder.dimensions)
    await run(db, "insert into items select i, 'title ' || i from generate_series(1, 128) i")
    async with sidecar_process(database_url, dimensions=encoder.dimensions) as process:
        await table.settle(START_S)
        for attempt in range(STOPS):
            await table.settle_after_crashes(START_S)  # a claim whose response was lost waits for its lease
            process.texts.clear()
            await run(db, "update items set title = 'round %s, ' || id", attempt)
            await wait_until_async(process.has_encoded, "the rows to be encoded", START_S)
            await asyncio.sleep(rng.uniform(0, 0.06))  # a write takes that long
            process.process.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            await run(db, "update items set title = title || '!'")
            waits_s.append(time.monotonic() - began)
            process.process.send_signal(signal.SIGCONT)
        await table.settle_after_crashes(START_S)
        assert not (wrong := await table.wrong(encoder)), wrong[:3]
    assert max(waits_s) < BOUND_S, waits_s
