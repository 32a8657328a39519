"""Changes of a row by its user, and the vector that results."""

from __future__ import annotations

import pytest

from tests.encoders import HashEncoder
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, insert_titles, make_pictures, make_texts
from tests.integration.ingest.watched_table import Connection, picture, run, user, value, watch


@in_row_and_companion
@pytest.mark.parametrize("kind", ["text", "image"])
async def test_a_vector_follows_its_row_through_its_life(
    database_url: str, db: Connection, encoder: GatedEncoder, kind: str, companion: str | None
) -> None:
    is_image = kind == "image"
    table = await (make_pictures if is_image else make_texts)(db, 3, companion=companion)
    column = "photo" if is_image else "title"
    async with running_ingest(database_url, encoder, pictures=is_image, decode_processes=1):
        await table.settle_right(encoder)
        assert len(await table.vectors()) == 3

        columns = f"id, {column}"
        for statements in (
            [f"insert into items ({columns}) select id + 10, {column} from items"],
            [f"update items set {column} = (select {column} from items where id = 2) where id = 1"],
            [f"update items set {column} = null where id = 2"],
            ["update items set id = 100 where id = 3"],
            ["update items set id = id + 1000"],
            ["delete from items where id in (1100, 1011)"],
            [f"insert into items ({columns}) select 1100, {column} from items where id = 1012"],
            [
                "create temp table kept on commit drop as select * from items",
                "truncate items",
                f"insert into items ({columns}) select {columns} from kept where id > 1012",
                f"update items set {column} = (select {column} from items where id = 1013) where id = 1100",
            ],
            ["truncate items"],
        ):
            async with db.transaction():
                for statement in statements:
                    await run(db, statement)
            await table.settle_right(encoder)

        if companion:
            assert await table.vectors() == {}


@in_row_and_companion
async def test_a_rolled_back_change_leaves_no_trace(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, 2, companion=companion)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        async with user(database_url, autocommit=False) as session:
            await run(session, "insert into items values (3, 'never')")
            await run(session, "update items set title = 'never' where id = 1")
            await run(session, "delete from items where id = 2")
            await session.rollback()
        await run(db, "insert into items values (4, 'after')")

        await table.settle_right(encoder)

    assert encoder.texts["never"] == 0
    assert len(await table.vectors()) == 3


async def test_several_source_columns_are_joined_without_their_nulls(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(
        db, "create table items (id bigint primary key, title text, brand varchar(20), colour char(8), price int)"
    )
    await run(
        db,
        "insert into items values (1, 'a', 'b', 'c'), (2, null, 'b', null), (3, null, null, null), (4, 'a', null, 'c')",
    )
    table = await watch(db, ["items"], ["title", "brand", "colour"])
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        for column in ("title", "brand", "colour"):
            await run(db, f"update items set {column} = 'other' where id = 1")
            await table.settle_right(encoder)
        await run(db, "update items set title = null, brand = null, colour = null where id = 4")

        await table.settle_right(encoder)

    assert await table.ledger_hash((3,)) == await table.ledger_hash((4,)) == "empty"


@in_row_and_companion
@pytest.mark.parametrize("blank", [None, "", " \t\n "])
async def test_an_empty_source_has_no_vector_and_is_no_failure(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None, blank: str | None
) -> None:
    table = await make_texts(db, 1, companion=companion)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "update items set title = %s where id = 1", blank)
        await run(db, "insert into items values (2, %s)", blank)
        await table.settle_right(encoder)

        assert {key: await table.ledger_hash(key) for key in [(1,), (2,)]} == {(1,): "empty", (2,): "empty"}
        assert await table.failures() == {}
        assert await value(db, "select empty from sidecar.status") == 2

        await run(db, "update items set title = 'something'")
        await table.settle_right(encoder)
        assert await value(db, "select embedded from sidecar.status") == 2


async def test_an_unrelated_update_enqueues_nothing(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 2)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    await run(db, "update items set price = price + 1")
    await run(db, "update items set title = title, price = price + 1")

    assert await table.count("events") == 0

    await run(db, "update items set title = title || '!'")
    assert await table.count("events") == 2


@in_row_and_companion
async def test_an_old_vector_written_back_by_a_full_row_save_is_replaced(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, 1, companion=companion)
    home = companion or "items"
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        old = await value(db, f"select embedding::text from {home}")
        await run(db, "update items set title = 'new'")
        await table.settle_right(encoder)

        await run(db, f"update {home} set embedding = %s::text::vector", old)
        await table.settle_right(encoder)

        # Title and vector at once, as by an ORM that loaded the row before it had a vector.
        await run(db, "update items set title = 'newer', price = 7")
        await run(db, f"update {home} set embedding = %s::text::vector", old)
        await table.settle_right(encoder)

        if not companion:
            await run(db, "update items set embedding = null")
        await table.settle_right(encoder)


async def test_a_companion_row_deleted_by_a_user_comes_back_with_the_sweep(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 2, companion="items_embeddings")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    await run(db, "delete from items_embeddings where id = 1")
    await run(db, "update sidecar_internal.scans set finished_at = now() - interval '2 h'")
    await run(
        db,
        "insert into sidecar_internal.scans (watch_id, purpose, finished_at) values (%s, 'sweep', now() - "
        "interval '2 h') "
        "on conflict (watch_id, purpose) do update set finished_at = excluded.finished_at",
        table.watch_id,
    )
    async with running_ingest(database_url, encoder):
        await table.become_right(encoder)


async def test_delete_and_insert_of_the_same_content_gets_its_vector_again(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 1)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "delete from items")
        await run(db, "insert into items values (1, 'title 1')")
        await table.settle_right(encoder)

        async with user(database_url, autocommit=False) as session:
            await run(session, "delete from items")
            await run(session, "insert into items values (1, 'title 1')")
            await session.commit()
        await table.settle_right(encoder)


async def test_a_row_that_takes_over_a_key_and_its_content_does_not_keep_its_own_old_vector(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """The ledger has this content for the key, and the row has a vector, but that of its earlier content."""
    table = await make_texts(db, 2)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        async with db.transaction():
            await run(db, "delete from items where id = 2")
            await run(db, "update items set id = 2, title = 'title 2' where id = 1")
        await table.settle_right(encoder)


async def test_two_rows_may_swap_their_keys(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 2)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        async with user(database_url, autocommit=False) as session:
            await run(session, "update items set id = 0 where id = 1")
            await run(session, "update items set id = 1 where id = 2")
            await run(session, "update items set id = 2 where id = 0")
            await session.commit()

        await table.settle_right(encoder)


async def test_a_text_longer_than_the_model_reads_is_marked_truncated(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    async with running_ingest(database_url, encoder):
        await run(db, "insert into items values (1, %s), (2, 'short')", "word " * 65)
        await table.settle_right(encoder)

        assert await value(db, "select truncated from sidecar.status") == 1


async def test_vectors_of_the_default_model_have_1152_dimensions(database_url: str, db: Connection) -> None:
    encoder = HashEncoder()
    table = await make_texts(db, 70, dimensions=1152)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)

    assert await value(db, "select vector_dims(embedding) from items where id = 1") == 1152
    assert 0.99999 < await value(db, "select vector_norm(embedding) from items where id = 1") < 1.00001


async def test_texts_larger_than_a_batch_are_read_in_part_and_fail_where_that_is_not_enough(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    async with running_ingest(database_url, encoder, ingest_batch_bytes=1 << 20):
        await table.settle()
        query = "insert into items select i, i || repeat(' word', %s::int) from generate_series(%s::int, %s::int) i"
        await run(db, query, 80_000, 1, 9)
        await run(db, query, 300_000, 10, 10)
        await run(db, "insert into items values (20, repeat(' ', 1500000) || 'word')")
        await insert_titles(db, 11, 12)
        await table.settle_right(encoder)

    [(key, (reason, message))] = (await table.failures()).items()
    assert (key, reason) == ('{"id": "20"}', "too_many_bytes")
    assert "the first 1,048,576 bytes of the text" in message
    assert "INGEST_BATCH_BYTES" in message


async def test_a_picture_of_no_bytes_is_empty(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_pictures(db)
    await run(db, "insert into items values (1, ''), (2, null)")
    async with running_ingest(database_url, encoder):
        await table.settle()

    assert {await table.ledger_hash((1,)), await table.ledger_hash((2,))} == {"empty"}


@in_row_and_companion
async def test_rows_of_a_partitioned_table_may_move_between_partitions(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    await run(
        db,
        "create table items (id bigint, region text, title text, primary key (id, region)) partition by list (region)",
    )
    for region in ("eu", "us"):
        await run(db, f"create table items_{region} partition of items for values in ('{region}')")
    await run(db, "insert into items select i, 'eu', 'title ' || i from generate_series(1, 20) i")
    table = await watch(db, ["items"], ["title"], ["id", "region"], companion=companion)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        for statement in (
            "update items set region = 'us' where id < 5",
            "update items_us set title = 'moved' where id = 1",
            "insert into items_us values (100, 'us', 'straight into a leaf')",
            "delete from items_eu where id = 10",
            "truncate items",
        ):
            await run(db, statement)
            await table.settle_right(encoder)


async def test_two_watches_of_one_table_are_independent(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(db, "create table items (id bigint primary key, title text, photo bytea)")
    await run(db, "insert into items values (1, 'one', %s), (2, 'two', %s)", picture(1), picture(2))
    titles = await watch(db, ["items"], ["title"], target="title_embedding")
    photos = await watch(db, ["items"], ["photo"], target="photo_embedding")
    async with running_ingest(database_url, encoder, pictures=True, decode_processes=1):
        await titles.settle_right(encoder)
        await photos.settle_right(encoder)
        views = encoder.views
        await run(db, "update items set title = 'three' where id = 1")
        await titles.settle_right(encoder)
        await photos.settle_right(encoder)

        assert encoder.views == views, "a change of the title encoded a photo"
