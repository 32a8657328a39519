"""Re-embedding all rows, with the same model or another: never two vector spaces in one column."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, insert_titles, make_texts
from tests.integration.ingest.processes import START_S, sidecar_process
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value
from tests.waiting import wait_until_async


class SpaceObserver:
    """Reads the column repeatedly, and records whose vectors it holds. `texts` are all that are ever embedded."""

    def __init__(self, encoders: Sequence[GatedEncoder], texts: Sequence[str]) -> None:
        self._maker = {e.vector_of(text).tobytes(): e.model_id for e in encoders for text in texts}
        self.seen: list[set[str]] = []

    async def look(self, table: WatchedTable) -> None:
        vectors = (await table.vectors()).values()
        makers = {self._maker[vector.tobytes()] for vector in vectors if vector is not None}
        if not self.seen or self.seen[-1] != makers:
            self.seen.append(makers)

    async def look_until(self, done: asyncio.Event, table: WatchedTable) -> None:
        while not done.is_set():
            await self.look(table)


async def test_reembed_with_the_same_model_encodes_every_row_again(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 30)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "update items set title = 'title 1' where id = 2")
        await table.settle_right(encoder)
        encoder.texts.clear()
        await run(db, "select sidecar.reembed('items')")
        await table.settle_right(encoder)

    assert sum(encoder.texts.values()) == 30


@in_row_and_companion
async def test_reembed_with_another_model_never_mixes_the_two(
    database_url: str, db: Connection, companion: str | None
) -> None:
    old, new = GatedEncoder("old"), GatedEncoder("new")
    table = await make_texts(db, 500, companion=companion)
    done = asyncio.Event()
    async with (
        user(database_url) as eyes,
        running_ingest(database_url, old, ingest_batch_rows=50),
        running_ingest(database_url, new, ingest_batch_rows=50),
    ):
        await run(db, "select sidecar.reembed('items', model => 'old')")
        await table.settle_right(old)
        titles = [f"title {i}" for i in range(1, 521)]
        observer = SpaceObserver([old, new], titles + [f"{title}!" for title in titles])
        looking = asyncio.create_task(observer.look_until(done, replace(table, connection=eyes)), name="observer")
        old.close()
        await run(db, "update items set title = title || '!' where id % 3 = 0")  # in flight in the old sidecar
        await old.until_held()
        await run(db, "select sidecar.reembed('items', model => 'new')")
        old.open()
        await insert_titles(db, 501, 520)
        await table.settle_right(new, timeout_s=40)
        done.set()
        await looking

    assert observer.seen == [{"old"}, set(), {"new"}]
    assert await value(db, "select fingerprint from sidecar_internal.watches") == new.fingerprint


async def test_vectors_of_the_old_model_in_flight_are_dropped(database_url: str, db: Connection) -> None:
    old, new = GatedEncoder("old"), GatedEncoder("new")
    table = await make_texts(db, 5)
    async with running_ingest(database_url, new):
        async with running_ingest(database_url, old):
            await run(db, "select sidecar.reembed('items', model => 'old')")
            await table.settle_right(old)
            old.close()
            new.close()
            await run(db, "update items set title = title || '!'")
            await old.until_held()
            await run(db, "select sidecar.reembed('items', model => 'new')")
            await new.until_held()  # the old vectors are cleared, and the fingerprint is pinned
            old.open()
        assert await value(db, "select count(embedding) from items") == 0
        new.open()
        await table.settle_right(new)


async def test_two_sidecars_with_different_models_pin_one_space_between_them(database_url: str, db: Connection) -> None:
    encoders = {"left": GatedEncoder("left"), "right": GatedEncoder("right")}
    for round_ in range(4):
        await run(db, "drop table if exists items")
        await run(db, "delete from sidecar_internal.watches")
        async with (
            running_ingest(database_url, encoders["left"], poll_interval_s=0.01),
            running_ingest(database_url, encoders["right"], poll_interval_s=0.01),
        ):
            table = await make_texts(db, 20)
            await insert_titles(db, 21, 60)
            await table.settle()
            pinned = await value(db, "select fingerprint from sidecar_internal.watches")
            winner = next(e for e in encoders.values() if e.fingerprint == pinned)
            assert not await table.wrong(winner), f"round {round_}"


async def test_two_processes_with_different_models_never_mix(database_url: str, db: Connection) -> None:
    table = await make_texts(db)
    encoders = {name: GatedEncoder(name) for name in ("left", "right")}
    async with sidecar_process(database_url, model_id="left"), sidecar_process(database_url, model_id="right"):

        async def both_are_there() -> bool:
            return bool(await value(db, "select count(*) = 2 from sidecar_internal.sidecars"))

        await wait_until_async(both_are_there, "both sidecars", START_S)
        await insert_titles(db, 1, 300)
        await table.settle()
        first = await value(db, "select encoder from sidecar_internal.watches")
        assert not await table.wrong(encoders[first])

        other = "left" if first == "right" else "right"
        await run(db, "select sidecar.reembed('items', model => %s)", other)
        await table.settle_right(encoders[other])


async def test_a_sidecar_with_another_model_leaves_the_watch_alone_and_logs_it(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 3)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    other = GatedEncoder("other")
    async with running_ingest(database_url, other):
        await run(db, "update items set title = 'waits for its own model'")

        async def says_so() -> bool:
            return "waiting for a sidecar with fingerprint" in await value(db, "select state from sidecar.status")

        await wait_until_async(says_so, "the status to say so")
        assert await table.count("events", "lease_until is null") == 3
        assert not other.texts
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)


async def test_a_watch_pinned_beforehand_waits_for_its_model(database_url: str, db: Connection) -> None:
    wanted, other = GatedEncoder("wanted"), GatedEncoder("other")
    table = await make_texts(db, 3, model="wanted")
    async with running_ingest(database_url, other) as running:

        async def is_running() -> bool:
            return bool(await value(db, "select count(*) from sidecar_internal.sidecars"))

        await wait_until_async(is_running, "the other model to be there")
        async with running_ingest(database_url, wanted):
            await table.settle_right(wanted)
        assert not running.task.done()
    assert not other.texts
