"""Rows with long texts: only their beginnings are read, with the same result."""

from __future__ import annotations

import pytest

from tests.encoders import HashEncoder
from tests.integration.change.test_verify import verify
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, make_texts
from tests.integration.ingest.watched_table import Connection, run, value, watch

FIRST_BEGINNING = 16 * 1024
HASHES_DIFFER = """
    select i.id from items i join sidecar_internal.ledger_1 l on l.k1 = i.id
    where l.content_hash is distinct from sha256(convert_to(concat_ws(' ', {columns}), 'UTF8'))
"""


def longest(encoder: GatedEncoder) -> int:
    """Characters of the longest text that was tokenised."""
    return max(map(len, encoder.texts))


@in_row_and_companion
async def test_the_beginning_of_a_long_text_is_read_and_the_hash_is_of_the_whole(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, 2, companion=companion)
    await run(db, "insert into items select 3, string_agg('wört' || i, ' ') from generate_series(1, 150000) i")
    await run(db, "alter table items alter column title set storage external")
    await run(db, "insert into items select 4, string_agg('日本' || i, ' ') from generate_series(1, 100000) i")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        assert longest(encoder) <= FIRST_BEGINNING
        assert await run(db, HASHES_DIFFER.format(columns="title")) == []
        assert await value(db, "select truncated from sidecar.status_exact('items')") == 2
        encoded = encoder.texts.copy()
        assert (await verify(db))["found"] == 0
        assert encoder.texts == encoded

        # A change far beyond what is read changes the hash, so it is not taken for no change.
        encoder.texts.clear()
        await run(db, "update items set title = title || ' more' where id = 3")
        await table.settle_right(encoder)
        assert len(encoder.texts) == 1
        assert await run(db, HASHES_DIFFER.format(columns="title")) == []

        # A row written without a change is found unchanged, by the hash that the server computed.
        encoder.texts.clear()
        await run(db, "update items set title = title || '.' where id = 3")
        await run(db, "update items set title = rtrim(title, '.') where id = 3")
        await table.settle_right(encoder)
        assert len(encoder.texts) <= 1


async def test_a_text_that_begins_with_blanks_is_read_as_far_as_needed(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 1)
    await run(db, "insert into items values (2, repeat(' ', 400000) || 'a photo of a cat')")
    await run(db, "insert into items values (3, repeat(E'\\n', 5000000) || repeat('word ', 1000000))")
    await run(db, "insert into items values (4, repeat(' ', 20000))")
    await run(db, "insert into items values (5, repeat('one ', 63) || repeat(' ', 30000))")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    assert await table.ledger_hash((4,)) == "empty"
    assert await table.failures() == {}
    assert await value(db, "select array_agg(k1 order by k1) from sidecar_internal.ledger_1 where truncated") == [3]


async def test_a_text_larger_than_a_whole_read_is_embedded_beside_its_neighbours(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 5)
    await run(db, "insert into items values (6, repeat('several words ', 5000000))")  # 70 MB
    await run(db, "insert into items select i, 'title ' || i from generate_series(7, 12) i")
    async with running_ingest(database_url, encoder):
        await table.settle(60)
    assert await table.failures() == {}
    assert longest(encoder) <= FIRST_BEGINNING
    assert await value(db, "select count(*) from items where embedding is not null") == 12


async def test_joined_columns_are_as_long_as_their_parts_and_the_blanks_between(
    database_url: str, db: Connection
) -> None:
    encoder = HashEncoder(dimensions=8)
    await run(db, "create table items (id int primary key, a text, b varchar(30000), c text)")
    table = await watch(db, ["items"], ["a", "b", "c"], dimensions=8)
    long = "repeat('lang und ', 3000)"
    await run(
        db,
        f"""insert into items values (1, null, null, null), (2, '', null, ''), (3, {long}, null, 'x'),
            (4, null, {long}, null), (5, 'a', '', 'c'), (6, '', '', ''), (7, {long}, {long}, {long}),
            (8, repeat('x', 16380), null, 'yz'),
            (9, repeat('x', 16380), 'y', 'zz')""",
    )
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    hashes = HASHES_DIFFER.format(columns="a, b, c") + " and octet_length(l.content_hash) = 32"
    assert await run(db, hashes) == []
    assert {await table.ledger_hash((key,)) for key in (1, 2, 6)} == {"empty"}


async def test_a_text_that_the_model_cannot_read_is_counted_in_the_status(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 2)
    await run(db, "insert into items values (3, 'ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ'), (4, 'three english words ᏣᎳᎩ')")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        assert await value(db, "select unreadable from sidecar.status_exact('items')") == 1
        await run(db, "select sidecar.verify('items')")
        await table.settle()
        await run(db, "update items set title = 'read now' where id = 3")
        await table.settle_right(encoder)
        assert await value(db, "select unreadable from sidecar.status_exact('items')") == 0


@pytest.mark.parametrize("storage", ["plain", "external", "extended", "main"])
async def test_the_beginning_of_a_text_is_read_however_it_is_stored(
    database_url: str, db: Connection, encoder: GatedEncoder, storage: str
) -> None:
    await run(db, "create table items (id bigint primary key, title text)")
    await run(db, f"alter table items alter column title set storage {storage}")
    table = await watch(db, ["items"], ["title"])
    size = 1_000 if storage == "plain" else 30_000
    await run(db, "insert into items values (1, repeat('a b c ', %s)), (2, null)", size // 6)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    assert await run(db, HASHES_DIFFER.format(columns="title") + " and l.k1 = 1") == []
