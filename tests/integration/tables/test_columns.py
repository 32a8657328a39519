"""Source columns of every type: text types, domains and generated columns."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, WatchedTable, picture, run, value, watch
from tests.integration.tables.both_places import settle_right, watch_both

TEXTS = ("varchar(40)", "char(40)", "name", "headline", 'text collate "C"')
GENERATED = {
    "stored": "text generated always as (upper(brand) || coalesce(' ' || title, '')) stored",
    "virtual": "text generated always as (upper(brand) || coalesce(' ' || title, '')) virtual",
}


async def test_every_text_type_can_be_a_source(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    await run(db, "create domain one_line as varchar(60) check (value !~ '\\n')")
    await run(db, "create domain headline as one_line not null check (value <> 'forbidden')")
    watched = []
    for number, type_ in enumerate(TEXTS):
        name = f"items_{number}"
        await run(db, f"create table {name} (id bigint primary key, title {type_}, brand varchar)")
        await run(db, f"insert into {name} values (1, 'there before', 'x'), (2, 'it''s', null), (3, '', '')")
        watched.append(await watch(db, [name], ["title"]))
        watched.append(await watch(db, [name], ["title", "brand"], target="both_embedding"))
    async with running_ingest(database_url, encoder):
        for number in range(len(TEXTS)):
            await run(db, f"insert into items_{number} values (4, 'came later', 'y')")
            await run(db, f"update items_{number} set title = 'It''s' where id = 2")
            await run(db, f"update items_{number} set brand = 'z' where id = 1")
        for table in watched:
            await table.settle_right(encoder)
            assert await table.failures() == {}
            assert await table.ledger_hash((3,)) == "empty"


async def test_a_domain_over_bytea_is_read_as_pictures(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(db, "create domain file as bytea check (octet_length(value) < 100000); create domain photo as file")
    await run(db, "create table items (id bigint primary key, photo photo)")
    table = await watch(db, ["items"], ["photo"])
    async with running_ingest(database_url, encoder, pictures=True, decode_processes=1):
        await run(db, "insert into items values (1, %s), (2, null)", picture(1))
        await table.settle_right(encoder)
    assert encoder.views == 1


@pytest.mark.parametrize("generated", GENERATED.values(), ids=GENERATED)
async def test_a_generated_source_is_embedded_again_when_its_inputs_change(
    database_url: str, db: Connection, encoder: GatedEncoder, generated: str
) -> None:
    if generated.endswith("virtual") and db.info.server_version < 180000:
        pytest.skip("virtual generated columns came with Postgres 18")
    columns = f"id bigint primary key, brand text, title text, words {generated}, price integer default 0"
    await run(db, f"create table items ({columns})")
    await run(
        db, "insert into items (id, brand, title) select i, 'brand ' || i, 'title ' || i from generate_series(1, 5) i"
    )
    both = await watch_both(db, "items", "id", source="words")
    async with running_ingest(database_url, encoder):
        await settle_right(both, encoder)
        encoder.texts.clear()
        await run(db, "update items set title = null where id = 1")
        await run(db, "update items set brand = null where id = 2")
        await run(db, "update items set brand = upper(brand), price = 1")
        await run(db, "insert into items (id, brand) values (6, 'new')")
        await settle_right(both, encoder)
        assert encoder.texts == {"BRAND 1": 2, "NEW": 2}


async def test_other_types_are_refused_with_a_hint_how_to_convert_them(db: Connection) -> None:
    await run(db, "create type mood as enum ('good')")
    await run(db, "create type pair as (x text, y text)")
    for type_ in ("json", "jsonb", "xml", "mood", "integer", "tsvector", "text[]", "pair"):
        await run(db, f"create table items (id bigint primary key, title {type_})")
        with pytest.raises(psycopg.errors.DatatypeMismatch, match="holds neither text nor pictures") as caught:
            await watch(db, ["items"], ["title"])
        assert "text generated always as" in (caught.value.diag.message_hint or "")
        await run(db, "drop table items")


async def test_a_jsonb_field_is_embedded_through_a_generated_column(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(db, "create table items (id bigint primary key, doc jsonb)")
    await run(db, "insert into items values (1, '{\"title\": \"a text\"}'), (2, '{}')")
    await run(db, "alter table items add column title text generated always as (doc->>'title') stored")
    table = await watch(db, ["items"], ["title"])
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, 'update items set doc = \'{"title": "another"}\'')
        await table.settle_right(encoder)
    assert encoder.texts == {"a text": 1, "another": 2}


async def watch_column_generated_from_a(db: Connection, manner: str) -> WatchedTable:
    if db.info.server_version < 180000:
        pytest.skip("another expression came with Postgres 17, virtual generated columns with 18")
    await run(
        db,
        "create table items (id bigint primary key, a text, b text, "
        f"title text generated always as (a) {manner}, "
        "embedding vector(16))",
    )
    await run(db, "insert into items (id, a, b) values (1, 'a', 'b'), (2, 'same', 'same')")
    return await watch(db, ["items"], ["title"])


@pytest.mark.parametrize("manner", ["stored", "virtual"])
async def test_verify_finds_rows_after_the_expression_of_a_generated_source_changed(
    database_url: str, db: Connection, encoder: GatedEncoder, manner: str
) -> None:
    watched = await watch_column_generated_from_a(db, manner)
    async with running_ingest(database_url, encoder):
        await watched.settle_right(encoder)
        await run(db, "alter table items alter title set expression as (a || '!')")
        await run(db, "select sidecar.verify('items')")
        await watched.settle_right(encoder)


async def test_a_virtual_source_computed_from_other_columns_breaks_the_watch_until_watched_again(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    watched = await watch_column_generated_from_a(db, "virtual")
    async with running_ingest(database_url, encoder):
        await watched.settle_right(encoder)
        await run(db, "alter table items alter title set expression as (b)")
        state = await value(db, "select state from sidecar.status")
        assert "computed from columns that the triggers do not know" in state

        await watch(db, ["items"], ["title"])
        await watched.settle_right(encoder)
        await run(db, "update items set b = 'c' where id = 1")
        await watched.settle_right(encoder)
