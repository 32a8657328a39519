"""Renamed tables and columns are followed, while rows are in flight."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from psycopg import sql

from tests.integration.change.states import until_all_are
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, value
from tests.waiting import wait_until_async


@dataclass(frozen=True, slots=True)
class Rename:
    """Statements `there` and `back` that rename and undo it; `after` is the watched table after `there`."""

    there: str
    back: str
    table: tuple[str, ...] = ("items",)
    source: str = "title"
    target: str = "embedding"
    companion: tuple[str, ...] | None = None

    def after(self, table: WatchedTable) -> WatchedTable:
        return replace(
            table,
            table=sql.Identifier(*self.table),
            source=(self.source,),
            target=self.target,
            companion=sql.Identifier(*self.companion) if self.companion else None,
        )


RENAMES = {
    "table": Rename("alter table items rename to goods", "alter table goods rename to items", ("goods",)),
    "table into another schema": Rename(
        "alter table items set schema shop", "alter table shop.items set schema public", ("shop", "items")
    ),
    "schema": Rename("alter schema public rename to shop2", "alter schema shop2 rename to public", ("shop2", "items")),
    "source": Rename("alter table items rename title to name", "alter table items rename name to title", source="name"),
    "target": Rename("alter table items rename embedding to e", "alter table items rename e to embedding", target="e"),
    "companion": Rename(
        "alter table vectors rename to other_vectors",
        "alter table other_vectors rename to vectors",
        companion=("other_vectors",),
    ),
    "target of a companion": Rename(
        "alter table vectors rename embedding to e",
        "alter table vectors rename e to embedding",
        target="e",
        companion=("vectors",),
    ),
}


@pytest.mark.parametrize("name", RENAMES)
async def test_a_rename_does_not_count_as_a_failed_attempt_of_rows_in_flight(
    database_url: str, db: Connection, encoder: GatedEncoder, name: str
) -> None:
    rename = RENAMES[name]
    await run(db, "create schema shop")
    table = await make_texts(db, companion="vectors" if rename.companion else None)
    rounds = 7  # more than the maximum of attempts
    # Between polls a sidecar learns of a rename only when it fails to write: else its vectors would just be written.
    async with running_ingest(database_url, encoder, poll_interval_s=60) as running:
        encoder.close()
        await run(db, "insert into items values (1, 'in flight')")
        for i in range(rounds):
            await encoder.until_held()
            await run(db, rename.back if i % 2 else rename.there)
            encoder.open()
            encoder.close()  # releases the held call; the next one is held

            async def has_encoded(done: int = i + 1) -> bool:
                return len(encoder.calls) >= done

            await wait_until_async(has_encoded, "the encoder to go on")
            if name == "source":  # not needed to write the vector, which is still right
                await run(db, f"update items set {'title' if i % 2 else 'name'} = 'in flight {i}'")
        await encoder.until_held()
        assert await table.count("events", "attempts > 1") == 0
        encoder.open()

        renamed = rename.after(table)
        await renamed.settle_right(encoder)
        await run(db, "set search_path = public, shop, shop2")
        async with db.transaction():
            await db.execute(sql.SQL("insert into {} values (2, 'after it')").format(renamed.table))
            await db.execute(
                sql.SQL("update {} set {} = 'changed' where id = 1").format(
                    renamed.table, sql.Identifier(rename.source)
                )
            )
        await renamed.settle_right(encoder)
        await until_all_are("up to date", db)
        assert not running.task.done()
    assert await value(db, "select count(*) from sidecar_internal.failures") == 0
    assert (encoder.texts["after it"], encoder.texts["changed"]) == (1, 1)


@in_row_and_companion
async def test_a_table_that_takes_the_name_of_a_renamed_one_is_not_written(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, companion=companion)
    vector_table = companion or "items"
    await run(db, f"create table new_home (like {vector_table} including indexes)")
    await run(db, "insert into new_home (id) values (1), (2)" if not companion else "select")
    async with running_ingest(database_url, encoder):
        encoder.close()
        await insert_titles(db, 1, 2)
        await encoder.until_held()
        async with db.transaction():
            await run(db, f"alter table {vector_table} rename to old_home")
            await run(db, f"alter table new_home rename to {vector_table}")
        encoder.open()

        old_home = sql.Identifier("old_home")
        renamed = replace(table, companion=old_home) if companion else replace(table, table=old_home)
        await renamed.settle_right(encoder)
    assert await value(db, f"select count(embedding) from {vector_table}") == 0


async def test_a_renamed_source_column_embeds_no_row_again(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 20)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        encoder.texts.clear()
        await run(db, "alter table items rename title to name")
        await run(db, "update items set name = 'changed' where id = 7")
        renamed = replace(table, source=("name",))
        await renamed.settle_right(encoder)
        # The former name now belongs to another column.
        await run(db, "alter table items add column title text default 'not watched'")
        await run(db, "update items set title = 'still not watched'")
        await run(db, "select sidecar.reembed('items')")
        await renamed.settle_right(encoder)
    assert await value(db, "select source from sidecar_internal.watches") == ["name"]
    assert encoder.texts["changed"] == 2
    assert "not watched" not in encoder.texts


async def test_watch_and_unwatch_find_a_watch_by_its_new_names_in_the_renaming_transaction(db: Connection) -> None:
    table = await make_texts(db, 1)
    async with db.transaction():
        await run(db, "alter table items rename embedding to e")
        await run(db, "select sidecar.unwatch('items', 'e')")
        await run(db, "alter table items rename e to f")
        again = await value(
            db, "select sidecar.watch('items', 'title', target => 'f', dimensions => 16, index => 'none')"
        )
    assert again == table.watch_id
    assert await value(db, "select array_agg(target) from sidecar_internal.watches") == ["f"]


async def test_two_source_columns_renamed_in_one_transaction_break_the_watch_until_watched_again(
    database_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    await run(db, "create table items (id bigint primary key, title text, brand text)")
    await run(db, "insert into items values (1, 'a', 'b')")
    watch = "select sidecar.watch('items', %s::text[], target => 'e', dimensions => 16, index => 'none', replace => %s)"
    await run(db, watch, ["title", "brand"], False)
    async with running_ingest(database_url, encoder):

        async def is_up_to_date() -> bool:
            return bool(await value(db, "select state = 'up to date' from sidecar.status"))

        await wait_until_async(is_up_to_date, "the first vector")
        async with db.transaction():
            await run(db, "alter table items rename title to name")
            await run(db, "alter table items rename brand to maker")
        state = await value(db, "select state from sidecar.status")
        assert state.startswith("broken: table public.items has no column 'title': call sidecar.watch again")
        await run(db, "update items set name = 'c'")
        await run(db, watch, ["name", "maker"], True)
        await wait_until_async(is_up_to_date, "the watch to be mended")
    assert dict(encoder.texts) == {"a b": 1, "c b": 1}
    assert sum("broken and skipped" in record.message for record in caplog.records) <= 1
