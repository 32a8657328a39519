"""Users' triggers: ones that set the source, ones that reject the vector, and ones created later."""

from __future__ import annotations

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, make_texts
from tests.integration.ingest.watched_table import Connection, run, value, watch

DESCRIBE = """
    create function describe() returns trigger language plpgsql as
    $$ begin new.words := concat_ws(' ', new.title, 'costs', new.price); return new; end $$
"""


async def make_described(db: Connection) -> None:
    await run(db, "create table items (id bigint primary key, title text, price integer default 0, words text)")
    await run(db, DESCRIBE)


async def make_trigger(db: Connection) -> None:
    await run(db, "create trigger describe before insert or update on items for each row execute function describe()")


@in_row_and_companion
async def test_a_source_set_by_a_before_trigger_is_embedded_when_its_inputs_change(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    await make_described(db)
    await make_trigger(db)
    await run(db, "insert into items (id, title) select i, 'title ' || i from generate_series(1, 5) i")
    table = await watch(db, ["items"], ["words"], companion=companion)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        encoder.texts.clear()
        await run(db, "update items set price = 7 where id < 3")
        await run(db, "insert into items values (6, 'six', 6, 'overwritten')")
        await table.settle_right(encoder)
    assert encoder.texts == {"title 1 costs 7": 1, "title 2 costs 7": 1, "six costs 6": 1}


async def test_a_source_that_changes_with_every_update_is_embedded_once_with_a_companion(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """With the vector in the row, writing it would change the source again."""
    await run(db, "create table items (id bigint primary key, words text, edition integer default 0)")
    await run(
        db,
        "create function count_edition() returns trigger language plpgsql as $$ begin "
        "new.edition := old.edition + 1; new.words := 'edition ' || new.edition; return new; end $$",
    )
    await run(db, "create trigger edit before update on items for each row execute function count_edition()")
    await run(db, "insert into items values (1, 'first')")
    table = await watch(db, ["items"], ["words"], companion="vectors")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "update items set id = 2")
        await table.settle_right(encoder)
    assert encoder.texts == {"first": 1, "edition 1": 1}


async def test_a_before_trigger_created_after_the_watch_is_reported_and_watch_repairs_it(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await make_described(db)
    await run(db, "insert into items values (1, 'one', 1, 'words')")
    table = await watch(db, ["items"], ["words"])
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await make_trigger(db)
        assert "call sidecar.watch again" in await value(db, "select state from sidecar.status")
        await run(db, "update items set price = 2")  # not enqueued: the statement names no watched column
        assert await table.count("events") == 0
        assert (await watch(db, ["items"], ["words"])).watch_id == table.watch_id
        await table.settle_right(encoder)
        assert await value(db, "select state from sidecar.status") == "up to date"
        await run(db, "update items set price = 3")
        await table.settle_right(encoder)
    assert encoder.texts == {"words": 1, "one costs 2": 1, "one costs 3": 1}


@pytest.mark.parametrize("instead", ["null", "old.embedding"])
async def test_a_before_trigger_that_changes_the_vector_fails_only_its_row(
    database_url: str, db: Connection, encoder: GatedEncoder, instead: str
) -> None:
    table = await make_texts(db, 5)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(
            db,
            "create function keep() returns trigger language plpgsql as "
            f"$$ begin new.embedding := {instead}; return new; end $$",
        )
        await run(
            db,
            "create trigger keep before update of embedding on items for each row when (new.id = 3) "
            "execute function keep()",
        )
        await run(db, "update items set title = title || '!'")
        await table.settle()
        [(key, (reason, message))] = (await table.failures()).items()
        assert (key, reason) == ('{"id": "3"}', "write_suppressed")
        assert "swallowed or changed" in message
        await run(db, "drop trigger keep on items")
        await run(db, "select sidecar.retry('items')")
        await table.settle_right(encoder)
        assert await table.failures() == {}


async def test_a_users_trigger_that_raises_is_a_failure_with_its_message(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 3)
    await run(
        db,
        "create function forbid() returns trigger language plpgsql as "
        "$$ begin raise exception 'item % is frozen', new.id; end $$",
    )
    await run(
        db, "create trigger forbid after update on items for each row when (new.id = 2) execute function forbid()"
    )
    async with running_ingest(database_url, encoder):
        await table.settle()
        [(key, (reason, message))] = (await table.failures()).items()
        assert (key, reason) == ('{"id": "2"}', "write_rejected")
        assert "item 2 is frozen" in message
        await run(db, "drop trigger forbid on items")
        await run(db, "select sidecar.retry('items')")
        await table.settle_right(encoder)


async def test_users_triggers_fire_for_the_sidecars_update_and_can_recognize_it(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """Documented: writing a vector into the row is an UPDATE of the row. With a companion it is not."""
    await run(db, "create table log (id bigint, by_sidecar boolean)")
    await run(
        db,
        "create function note() returns trigger language plpgsql as $$ begin "
        "insert into public.log values (new.id, current_setting('sidecar.writer', true) is not distinct from 'on'); "
        "return null; end $$",
    )
    in_row = await make_texts(db, 2)
    await run(db, "create trigger note after update on items for each row execute function note()")
    async with running_ingest(database_url, encoder):
        await in_row.settle_right(encoder)
        assert await run(db, "select * from log order by id") == [(1, True), (2, True)]
        await run(db, "update items set price = 1 where id = 1")
        assert await value(db, "select count(*) from log where not by_sidecar") == 1
