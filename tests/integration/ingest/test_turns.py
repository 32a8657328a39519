"""Which events are claimed, in which order: each test makes the claims of one sidecar by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from pydantic import SecretStr

from sidecar.batching.lane import Lane
from sidecar.config import Settings
from sidecar.ingest.batch import Claim
from sidecar.ingest.turns import LOW_WATER_AGE_S, Turns
from sidecar.postgres.database import Database
from sidecar.postgres.watches import Watch, load_watches
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, run, user

ROWS = 10
INGEST, BACKFILL = Lane.INGEST, Lane.BACKFILL


class Claimer:
    """Claims, and deletes what it claimed as if it were done."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.database = Database(SecretStr(url))
        self.turns = Turns(Settings(**settings), self.database)

    async def watches(self) -> list[Watch]:
        async with self.database.connection() as connection:
            return await load_watches(connection)

    async def claim(self, look_below: bool = False, rows: int = ROWS, backfill_rows: int = ROWS) -> Claim:
        [watch] = await self.watches()
        claim = await self.turns.claim_batch(watch, {INGEST: rows, BACKFILL: backfill_rows}, look_below)
        assert claim is not None, "nothing waits"
        return claim

    async def finish(self, db: Connection, claim: Claim) -> None:
        gens = [event.gen for event in claim.events]
        await run(db, f"delete from sidecar.events_{claim.watch.id} where gen = any (%s)", gens)


@pytest.fixture
async def claimer(database_url: str) -> AsyncIterator[Claimer]:
    made = Claimer(database_url, backfill_min_share=0.25)
    await made.database.open()
    yield made
    await made.database.close()


def keys(claim: Claim) -> list[int]:
    return [int(event.key[0]) for event in claim.events if event.key is not None]


async def test_the_oldest_come_first_and_nobody_claims_them_twice(db: Connection, claimer: Claimer) -> None:
    await make_texts(db)
    await insert_titles(db, 1, 25)

    assert [keys(await claimer.claim()) for _ in range(3)] == [
        list(range(1, 11)),
        list(range(11, 21)),
        list(range(21, 26)),
    ]
    [watch] = await claimer.watches()
    assert await claimer.turns.claim_batch(watch, {INGEST: ROWS, BACKFILL: ROWS}, True) is None


async def test_a_late_commit_is_claimed_even_while_all_claims_are_full(
    database_url: str, db: Connection, claimer: Claimer
) -> None:
    await make_texts(db)
    async with user(database_url, autocommit=False) as late:
        await run(late, "insert into items values (-1, 'late')")
        await insert_titles(db, 1, 100)
        await claimer.finish(db, await claimer.claim())  # the low-water mark is above the late one now
        await claimer.finish(db, await claimer.claim())
        await late.commit()
    assert keys(await claimer.claim()) == list(range(21, 31))

    for turn in claimer.turns._turns.values():
        turn.low_water_at -= LOW_WATER_AGE_S

    assert keys(await claimer.claim())[0] == -1


@pytest.mark.parametrize("notified", [True, False])
async def test_a_late_commit_is_claimed_at_once_after_a_notification_or_when_little_waits(
    database_url: str, db: Connection, claimer: Claimer, notified: bool
) -> None:
    await make_texts(db)
    async with user(database_url, autocommit=False) as late:
        await run(late, "insert into items values (-1, 'late')")
        await insert_titles(db, 1, 30 if notified else 13)
        await claimer.finish(db, await claimer.claim())
        await late.commit()

    assert -1 in keys(await claimer.claim(look_below=notified))


async def test_live_changes_come_first_and_the_backfill_keeps_its_share(db: Connection, claimer: Claimer) -> None:
    table = await make_texts(db)
    await insert_titles(db, 1, 400)
    await run(
        db, f"insert into sidecar.events_{table.watch_id} (k1, backfill) select i, true from generate_series(1, 400) i"
    )

    served = []
    for _ in range(40):
        claim = await claimer.claim()
        served.append("backfill" if claim.events[0].backfill else "live")
        await claimer.finish(db, claim)

    assert served[0] == "live"
    assert Counter(served) == {"live": 32, "backfill": 8}


async def test_all_is_for_the_backfill_while_nothing_changes(db: Connection, claimer: Claimer) -> None:
    table = await make_texts(db)
    await run(
        db, f"insert into sidecar.events_{table.watch_id} (k1, backfill) select i, true from generate_series(1, 30) i"
    )

    assert [len((await claimer.claim()).events) for _ in range(3)] == [10, 10, 10]


async def test_without_a_slot_for_the_backfill_neither_its_events_nor_its_suspects_are_claimed(
    db: Connection, claimer: Claimer
) -> None:
    table = await make_texts(db)
    await insert_titles(db, 1, 3)
    await run(
        db,
        f"insert into sidecar.events_{table.watch_id} (k1, backfill, attempts) values (11, true, 0), (12, true, 2)",
    )
    await run(db, f"update sidecar.events_{table.watch_id} set attempts = 2 where k1 = 1")

    claims = [await claimer.claim(backfill_rows=0) for _ in range(2)]
    assert sorted(keys(claims[0]) + keys(claims[1])) == [1, 2, 3]
    [watch] = await claimer.watches()
    assert await claimer.turns.claim_batch(watch, {INGEST: ROWS, BACKFILL: 0}, True) is None

    claims = [await claimer.claim() for _ in range(2)]
    assert sorted(keys(claims[0]) + keys(claims[1])) == [11, 12]
    assert {claim.lane for claim in claims} == {BACKFILL}


async def test_suspects_are_claimed_alone_and_every_second_time_at_most(db: Connection, claimer: Claimer) -> None:
    table = await make_texts(db)
    await insert_titles(db, 1, 200)
    await run(db, f"update sidecar.events_{table.watch_id} set attempts = 2 where k1 % 20 = 0")

    claims = []
    while await table.count("events"):
        claims.append(await claimer.claim())
        await claimer.finish(db, claims[-1])

    suspects = [claim for claim in claims if claim.events[0].attempts > 2]
    assert [len(claim.events) for claim in suspects] == [1] * 10
    assert not any(a in suspects and b in suspects for a, b in pairwise(claims[:20]))


async def test_an_expired_lease_makes_an_event_claimable_again(db: Connection, claimer: Claimer) -> None:
    table = await make_texts(db)
    await insert_titles(db, 1, 5)
    first = await claimer.claim()
    await table.age_leases()
    second = await claimer.claim()

    assert keys(first) == keys(second)
    assert first.lease.token != second.lease.token
    assert {event.attempts for event in second.events} == {2}
