"""Random users and random crashes, in many short epochs on few keys; after each, all vectors must match the oracle.

Epochs are short because in a long one later changes hide earlier errors. Draining starts only after the last user has
committed. A few epochs run in `make test`, more in `make faults`, each time with other random numbers;
`pytest tests/faults -m long --chaos-epochs 300 --chaos-seed 7` runs longer.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
from psycopg import IsolationLevel

from tests.faults.herd import Herd
from tests.faults.random_users import KEYS, Crowd, MoodyEncoder, User
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, watch

EPOCH_S, TRANSACTIONS = 0.45, 11
LONG = pytest.mark.long
USERS, SIDECARS = 3, 2
ANY_ISOLATION = [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]
TERMINATE_ONE = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'sidecar' order by random() limit 1
"""
# With the content of a deleted row: only a sweep would find it.
STRAY_LEDGER = """
    select l.k1, l.gen, l.content_hash from sidecar_internal.ledger_1 l
    where l.content_hash is not null and not exists (select from items i where i.id = l.k1)
"""
WRONG_LEDGER = """
    select l.k1, l.content_hash from sidecar_internal.ledger_1 l join items i on i.id = l.k1 join {home} h on h.id =
        i.id
    where h.embedding is not null and (l.content_hash is distinct from sha256(convert_to(i.title, 'UTF8'))
          or l.vector_digest is distinct from sha256(vector_send(h.embedding)))
"""


async def make_table(db: Connection, companion: str | None) -> WatchedTable:
    await run(db, f"alter database {db.info.dbname} set deadlock_timeout = '50ms'")
    await run(db, f"alter database {db.info.dbname} set lock_timeout = '2s'")
    await run(db, "create table items (id integer primary key, title text, n integer)")
    return await watch(db, ["items"], ["title"], companion=companion)


def faults(table: WatchedTable, herd: Herd, rng: random.Random) -> Iterator[Callable[[], Awaitable[object]]]:
    """Yields faults: leases end, delays pass, connections break, sidecars crash; each before any repeats."""
    kinds = [
        *(table.age_leases, table.age_leases, table.age_delays, herd.crash_one),
        lambda: run(table.connection, TERMINATE_ONE),
    ]
    while True:
        yield from rng.sample(kinds, len(kinds))


async def torment(kinds: Iterator[Callable[[], Awaitable[object]]], rng: random.Random, until: float) -> None:
    while time.monotonic() < until:
        await asyncio.sleep(rng.uniform(0, 0.2))
        await next(kinds)()


async def drain(table: WatchedTable, herd: Herd) -> None:
    """Waits until nothing is pending and nothing has failed; rows given up because of crashes are retried."""
    for _ in range(3):
        await table.settle_after_crashes()
        herd.check()
        if not await table.failures():
            return
        await run(table.connection, "select sidecar.retry('items')")
    assert await table.failures() == {}


async def go_through_epochs(table: WatchedTable, crowd: Crowd, herd: Herd, epochs: int, where: str) -> None:
    """Runs users and faults at once in each epoch, and compares with the oracle after it."""
    encoder = MoodyEncoder(crowd.rng)
    wrong_ledger = WRONG_LEDGER.format(home=crowd.home)
    kinds = faults(table, herd, crowd.rng)
    for epoch in range(epochs):
        until = time.monotonic() + EPOCH_S
        async with asyncio.TaskGroup() as group:
            group.create_task(crowd.act(USERS, until, TRANSACTIONS), name="users")
            group.create_task(torment(kinds, crowd.rng, until), name="torment")
        await drain(table, herd)
        now = f"{where}, epoch {epoch}, after {crowd.transactions} transactions, {herd.crashes} crashes"
        assert not (strays := await run(table.connection, STRAY_LEDGER)), (now, strays)
        assert not (wrong := await table.wrong(encoder)), (now, wrong)
        assert not (entries := await run(table.connection, wrong_ledger)), (now, entries)


def seed_of(request: pytest.FixtureRequest, *, is_long: bool) -> int:
    seed: int | None = request.config.getoption("--chaos-seed", default=None)
    return seed or (random.SystemRandom().randrange(1, 10**6) if is_long else 1)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("epochs", [3, pytest.param(40, marks=LONG)])
@pytest.mark.parametrize("own_keys", [False, True], ids=["shared-keys", "own-keys"])
@in_row_and_companion
async def test_after_any_chaos_every_vector_matches_its_row(
    database_url: str,
    db: Connection,
    companion: str | None,
    own_keys: bool,
    epochs: int,
    request: pytest.FixtureRequest,
) -> None:
    """Users with keys of their own must see no error at all; in-row, up to READ COMMITTED."""
    seed = seed_of(request, is_long=epochs > 3)
    epochs = request.config.getoption("--chaos-epochs", default=None) or epochs
    rng = random.Random(seed)
    isolation = ANY_ISOLATION if not own_keys else ANY_ISOLATION[: 2 if companion else 1]
    crowd = Crowd(database_url, companion or "items", rng, own_keys, isolation)
    table = await make_table(db, companion)
    async with Herd(database_url, rng, SIDECARS) as herd:
        await go_through_epochs(table, crowd, herd, epochs, f"seed {seed}")
    assert herd.crashes > 0
    assert crowd.transactions >= TRANSACTIONS * epochs, crowd.errors


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rounds", [8, pytest.param(100, marks=LONG)])
@in_row_and_companion
async def test_rows_that_are_truncated_and_put_back_as_they_were_keep_their_vectors(
    database_url: str, db: Connection, companion: str | None, rounds: int, request: pytest.FixtureRequest
) -> None:
    """A sidecar that read a row before the TRUNCATE was cleared may not write after it. No sweep repairs that here."""
    seed = seed_of(request, is_long=rounds > 8)
    rounds = request.config.getoption("--chaos-epochs", default=None) or rounds
    rng = random.Random(seed)
    table = await make_table(db, companion)
    await run(db, "insert into items select i, 'title ' || i, 0 from generate_series(0, 5) i")
    async with (
        Herd(database_url, rng, SIDECARS, sweep_interval_s=3600, ingest_batch_rows=2) as herd,
        user(database_url, autocommit=False) as session,
    ):
        person = User(session, companion or "items", rng, list(KEYS), touches_all=True)
        for number in range(rounds):
            await person.put_back(rng.choice([None, None, f"new {number}"]))
            await session.commit()
            for _ in range(rng.randrange(6)):
                await person.enqueue()
                await session.commit()
                await asyncio.sleep(rng.choice([0, 0, 0.002]))
            await drain(table, herd)
            where = f"seed {seed}, round {number}"
            assert not (strays := await run(db, STRAY_LEDGER)), (where, strays)
            assert not (wrong := await table.wrong(MoodyEncoder(rng))), (where, wrong)
