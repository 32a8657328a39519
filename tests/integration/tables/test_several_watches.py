"""Several vectors of one row, written by one sidecar, or by two with different models while users write."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, picture, run, user, value, watch


async def test_one_table_can_have_watches_on_pictures_on_texts_and_two_on_the_same_source(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(db, "create table items (id bigint primary key, title text, body text, photo bytea)")
    for i in range(1, 6):
        await run(db, "insert into items values (%s, %s, %s, %s)", i, f"title {i}", f"body {i}", picture(i))
    watched = [
        await watch(db, ["items"], ["title"], target="title_embedding"),
        await watch(db, ["items"], ["title", "body"], target="all_embedding"),
        await watch(db, ["items"], ["title"], target="again_embedding", index="halfvec"),
        await watch(db, ["items"], ["title"], target="embedding", companion="titles"),
        await watch(db, ["items"], ["photo"], target="photo_embedding"),
        await watch(db, ["items"], ["photo"], target="vector", companion="photos"),
    ]
    async with running_ingest(database_url, encoder, pictures=True, decode_processes=1):
        for statement in (
            "select",
            "update items set title = 'new' where id = 1",
            "update items set body = null where id = 2",
            "update items set photo = (select photo from items where id = 5) where id = 3",
            "update items set id = 44, title = 'moved' where id = 4",
            "delete from items where id = 5",
            "insert into items values (6, null, 'only a body', null)",
            "truncate items",
        ):
            await run(db, statement)
            for table in watched:
                await table.settle_right(encoder)
    assert await run(db, "select distinct state, failed from sidecar.status") == [("no sidecar is running", 0)]


async def test_unwatching_one_target_leaves_the_other_watches(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(db, "create table items (id bigint primary key, title text)")
    first = await watch(db, ["items"], ["title"], target="a")
    await watch(db, ["items"], ["title"], target="b")
    async with running_ingest(database_url, encoder):
        await run(db, "insert into items values (1, 'one')")
        await run(db, "select sidecar.unwatch('items', 'b', drop_target => true)")
        await run(db, "insert into items values (2, 'two')")
        await run(db, "update items set title = title || '!'")
        await first.settle_right(encoder)


@pytest.mark.parametrize("has_trigger", [False, True], ids=["plain", "with a before trigger"])
async def test_two_sidecars_with_different_models_write_the_same_rows_concurrently(
    database_url: str, db: Connection, has_trigger: bool
) -> None:
    """Nothing is lost, and neither users nor sidecars run into a deadlock."""
    await run(db, "create table items (id bigint primary key, title text, price integer default 0)")
    if has_trigger:
        await run(
            db,
            "create function tidy() returns trigger language plpgsql as "
            "$$ begin new.title := btrim(new.title); return new; end $$",
        )
        await run(db, "create trigger tidy before insert or update on items for each row execute function tidy()")
    await run(db, "insert into items select i, 'title ' || i from generate_series(1, 60) i")
    red, blue = GatedEncoder("red"), GatedEncoder("blue")
    of_red = await watch(db, ["items"], ["title"], target="red_embedding", model="red")
    of_blue = await watch(db, ["items"], ["title"], target="blue_embedding", model="blue")
    before = await value(db, "select deadlocks from pg_stat_database where datname = current_database()")

    async def write(worker: int) -> None:
        async with user(database_url, autocommit=False) as session:
            await run(session, "set statement_timeout = '5s'")
            for i in range(30):
                first = 1 + (worker * 20 + i * 7) % 60
                await run(session, "update items set title = %s where id = %s", f" {worker} {i} ", first)
                await run(session, "update items set price = price + 1 where id = %s", first)
                if i % 5 == 0:
                    await run(session, "delete from items where id = %s", first)
                    await run(session, "insert into items values (%s, %s)", first, f"again {i}")
                await (session.rollback() if i % 7 == 6 else session.commit())

    async with running_ingest(database_url, red), running_ingest(database_url, blue):
        await asyncio.gather(*(write(worker) for worker in range(3)))
        await of_red.settle_right(red)
        await of_blue.settle_right(blue)
        assert await run(db, "select distinct state from sidecar.status") == [("up to date",)]
    assert await value(db, "select count(*) from sidecar_internal.failures") == 0
    assert await value(db, "select deadlocks from pg_stat_database where datname = current_database()") == before
