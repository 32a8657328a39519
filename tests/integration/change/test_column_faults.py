"""Watched columns changed without the recipe: no user's statement fails, and status names the fault."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.change.columns import CREATE, watch_items
from tests.integration.change.states import until_all_are
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, run, value, watch
from tests.waiting import wait_until_async


@pytest.mark.parametrize(
    ("statement", "sqlstate", "detail"),
    [
        ("alter table items drop title", "2BP01", "trigger sidecar_1_update on table items depends on column title"),
        (
            "alter table items alter title type text",
            "0A000",
            'sidecar_1_update on table items depends on column "title"',
        ),
        ("alter table items alter id type bigint", "0A000", 'sidecar_1_update on table items depends on column "id"'),
        ("alter table items drop id", "2BP01", "trigger sidecar_1_update on table items depends on column id"),
        (
            "alter table items drop embedding",
            "2BP01",
            "trigger sidecar_1_target on table items depends on column embedding",
        ),
        ("alter table items alter embedding type vector(3)", "0A000", "sidecar_1_target on table items depends"),
    ],
)
async def test_postgres_refuses_to_drop_or_retype_a_watched_column_and_names_the_trigger(
    db: Connection, statement: str, sqlstate: str, detail: str
) -> None:
    await run(db, CREATE)
    await watch_items(db, "id", "title", None)
    with pytest.raises(psycopg.Error) as caught:
        await run(db, statement)
    assert caught.value.sqlstate == sqlstate
    assert detail in (caught.value.diag.message_detail or "")


# A change made without unwatch, the state it causes, a user's statement that must work, and the source to watch then.
FORGOTTEN = {
    "drop source": (
        "alter table items drop title cascade",
        "table public.items has no column 'title'",
        "update items set price = 0",
        "brand",
    ),
    "drop target": (
        "alter table items drop embedding cascade",
        "public.items has no column embedding of type vector(16)",
        "update items set title = 'new' where id = 1",
        "title",
    ),
    "drop key": (
        "alter table items drop constraint items_pkey",
        "table public.items has no primary key",
        "update items set title = 'new' where id = 1",
        "title",
    ),
    "drop triggers": (
        """
        drop trigger sidecar_1_insert on items;
        drop trigger sidecar_1_update on items;
        drop trigger sidecar_1_delete on items;
        drop trigger sidecar_1_truncate on items;
        drop trigger sidecar_1_target on items
        """,
        "its triggers are gone",
        "update items set title = 'new' where id = 1",
        "title",
    ),
    "another target type": (
        "alter table items drop embedding cascade; alter table items add embedding text",
        "public.items has no column embedding of type vector(16)",
        "update items set title = 'new' where id = 1",
        None,
    ),
}


@pytest.mark.parametrize("name", FORGOTTEN)
async def test_a_change_without_unwatch_breaks_the_watch_but_no_users_statement(
    database_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    change, reason, statement, source = FORGOTTEN[name]
    await run(db, CREATE)
    table = await watch_items(db, "id", "title", None)
    await run(db, "create table others (id int primary key, title text)")
    others = await watch(db, ["others"], ["title"])
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        caplog.clear()
        await run(db, change)
        state = await value(db, "select state from sidecar.status where watch_id = 1")
        assert state.startswith(f"broken: {reason}: call sidecar.watch again"), state
        await run(db, statement)
        await run(db, "insert into items (id, brand) values (100, 'while broken')")
        await run(db, "delete from items where id = 2")
        for i in range(3):  # ingest serves the other watches, and does not repeat its log lines on this one
            await run(db, "insert into others values (%s, 'x')", i)
            await others.settle_right(encoder)
        said = [record.message for record in caplog.records if "items" in record.message]
        assert len(said) <= 3, said

        if source is None:
            await run(db, "alter table items drop embedding")
            source = "title"
        if name == "drop key":
            await run(db, "alter table items add primary key (id)")
        again = await watch_items(db, "id", source, None, replace=True)
        assert again.watch_id == table.watch_id
        await again.settle_right(encoder)
        await until_all_are("up to date", db)


async def test_a_renamed_key_warns_the_writer_once_and_watching_again_repairs_it(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(db, CREATE)
    table = await watch_items(db, "id", "title", None)
    warnings: list[str] = []
    db.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        encoder.texts.clear()
        await run(db, "alter table items rename id to number")
        state = await value(db, "select state from sidecar.status")
        assert state.startswith("broken: the primary key was (id integer), now it is (number integer)")
        await run(db, "update items set title = 'lost' where number = 1")
        await run(db, "update items set title = 'lost too' where number = 2")
        assert len([warning for warning in warnings if "could not record a change" in warning]) == 1

        again = await watch_items(db, "number", "title", None)
        await again.settle_right(encoder)
    assert dict(encoder.texts) == {"lost": 1, "lost too": 1}


async def test_a_broken_watch_recovers_when_the_change_is_undone(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(db, CREATE)
    table = await watch_items(db, "id", "title", None)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "alter table items rename id to number")

        async def is_broken() -> bool:
            return str(await value(db, "select state from sidecar.status")).startswith("broken")

        await wait_until_async(is_broken, "the fault to be seen")
        await run(db, "alter table items rename number to id")
        await run(db, "update items set title = 'as before' where id = 1")
        await table.settle_right(encoder)
        await until_all_are("up to date", db)
