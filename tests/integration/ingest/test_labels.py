"""sidecar.set_labels and sidecar.labels: which words fit which rows, by the vectors as they are."""

from __future__ import annotations

import io

import numpy as np
import psycopg
import pytest
from PIL import Image

from sidecar.batching.encoder import PairScale
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, make_pictures, make_texts
from tests.integration.ingest.watched_table import Connection, picture, run
from tests.waiting import wait_until_async

LABELS = "select (key->>'id')::int, label, probability, cosine from sidecar.labels('items') order by 1, 2"


async def until_labelled(db: Connection) -> None:
    async def are_there() -> bool:
        try:
            await run(db, "select count(*) from sidecar.labels('items')")
        except psycopg.errors.ObjectNotInPrerequisiteState:
            return False
        return True

    await wait_until_async(are_there, "labels with vectors", timeout_s=20)


def expected(encoder: GatedEncoder, photo: bytes, prompt: str) -> tuple[float, float]:
    """Probability and cosine."""
    pixels = np.frombuffer(_pixels(photo), np.uint8)
    cosine = float(encoder._vector(pixels.tobytes()).astype(np.float64) @ encoder.vector_of(prompt).astype(np.float64))
    scale = encoder.pair_scale
    assert scale is not None
    return 1 / (1 + float(np.exp(-(scale.scale * cosine + scale.bias)))), cosine


def _pixels(photo: bytes) -> bytes:
    return np.asarray(Image.open(io.BytesIO(photo)).convert("RGB")).tobytes()


@in_row_and_companion
async def test_pictures_have_a_probability_for_each_label_of_their_present_vectors(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    encoder.pair_scale = PairScale(4.0, -1.0)
    table = await make_pictures(db, 2, companion=companion, index="none")
    await run(db, "select sidecar.set_labels('items', array['mug', 'chair'], template => 'a photo of a {}')")
    async with running_ingest(database_url, encoder, pictures=True):
        await table.settle_right(encoder)
        await until_labelled(db)
        photos = {1: picture(1), 2: picture(2)}

        async def check(prompts: dict[str, str]) -> None:
            wanted = [
                (key, label, *expected(encoder, photo, prompt))
                for key, photo in sorted(photos.items())
                for label, prompt in sorted(prompts.items())
            ]
            found = await run(db, LABELS)
            assert [row[:2] for row in found] == [row[:2] for row in wanted]
            assert np.allclose([row[2:] for row in found], [row[2:] for row in wanted], atol=1e-5)

        await check({"mug": "a photo of a mug", "chair": "a photo of a chair"})

        await run(db, "update items set photo = %s where id = 2", picture(7))  # a row changes
        await run(db, "delete from items where id = 1")
        photos = {2: picture(7)}
        await table.settle_right(encoder)
        await check({"mug": "a photo of a mug", "chair": "a photo of a chair"})

        await run(db, "select sidecar.set_labels('items', array['lamp', 'mug'])")  # the labels change
        await until_labelled(db)
        await check({"lamp": "lamp", "mug": "mug"})

        [(one,)] = await run(db, "select count(*) from sidecar.labels('items', only_key => '{\"id\": 2}')")
        [(none,)] = await run(db, "select count(*) from sidecar.labels('items', only_key => '{\"id\": 1}')")
        [(likely,)] = await run(db, "select min(probability) from sidecar.labels('items', at_least => 0.2)")
        assert (one, none) == (2, 0)
        assert likely is None or likely >= 0.2
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="does not name the key columns"):
            await run(db, "select count(*) from sidecar.labels('items', only_key => '{\"ID\": 2}')")


async def test_after_a_change_of_the_model_both_vectors_are_those_of_the_new_one(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_pictures(db, 3, index="none")
    await run(db, "select sidecar.set_labels('items', array['mug'])")
    async with running_ingest(database_url, encoder, pictures=True):
        await table.settle_right(encoder)
        await until_labelled(db)
    await run(db, "select sidecar.reembed('items', model => 'other')")
    with pytest.raises(psycopg.Error, match=r"label 'mug' of public\.items\.embedding has no vector yet") as raised:
        await run(db, LABELS)
    assert "The first vectors of the watch have to be there" in str(raised.value.diag.message_hint)
    other = GatedEncoder("other")
    async with running_ingest(database_url, other, pictures=True):
        await table.settle_right(other)
        await until_labelled(db)
        found = await run(db, LABELS)
    wanted = [expected(other, picture(key), "mug") for key in (1, 2, 3)]
    assert np.allclose([row[2:] for row in found], wanted, atol=1e-5)


async def test_between_texts_there_is_a_cosine_and_no_probability(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 2, index="none")
    await run(db, "select sidecar.set_labels('items', array['title 1'])")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await until_labelled(db)
    found = await run(db, LABELS)
    assert [row[:3] for row in found] == [(1, "title 1", None), (2, "title 1", None)]
    assert found[0][3] == pytest.approx(1)
    assert found[1][3] < 0.99
    with pytest.raises(psycopg.Error, match=r"have no probability: its rows are texts, and the model was trained on"):
        await run(db, "select * from sidecar.labels('items', at_least => 0.5)")


async def test_labels_can_be_stored_and_refreshed(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 1, index="none")
    await run(db, "select sidecar.set_labels('items', array['mug', 'lamp'])")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await until_labelled(db)
    stored = "select (key->>'id')::bigint as id, label, probability from sidecar.labels('items')"
    await run(db, f"create materialized view item_labels as {stored}")
    await run(db, "create unique index on item_labels (label, id)")
    await run(db, "refresh materialized view concurrently item_labels")
    assert await run(db, "select id, label from item_labels order by 2") == [(1, "lamp"), (1, "mug")]


async def test_a_model_without_a_scale_has_no_probability(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    encoder.pair_scale = None
    table = await make_pictures(db, 1, index="none")
    await run(db, "select sidecar.set_labels('items', array['mug'])")
    async with running_ingest(database_url, encoder, pictures=True):
        await table.settle_right(encoder)
        await until_labelled(db)
    [(_, _, probability, cosine)] = await run(db, LABELS)
    assert probability is None
    assert -1 <= cosine <= 1
    with pytest.raises(psycopg.Error, match="have no probability: the model has no scale and bias for it"):
        await run(db, "select * from sidecar.labels('items', at_least => 0.5)")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("'items', array['a', 'a']", "label 'a' is there twice"),
        ("'items', array['a', ' ']", "a label is ' '"),
        ("'items', array['a', null]", "a label is NULL"),
        ("'items', null", "labels is NULL"),
        ("'items', array_fill('a'::text, array[1001])", "1001 labels"),
        ("'items', array['a'], template => 'a photo'", "template is 'a photo'"),
    ],
)
async def test_labels_that_cannot_be_embedded_are_refused(db: Connection, call: str, message: str) -> None:
    await make_texts(db)
    with pytest.raises(psycopg.Error, match=message) as raised:
        await run(db, f"select sidecar.set_labels({call})")
    assert raised.value.diag.message_hint


async def test_without_labels_the_hint_sets_some(db: Connection) -> None:
    await make_texts(db)
    with pytest.raises(psycopg.Error, match=r"public\.items\.embedding has no labels") as raised:
        await run(db, "select * from sidecar.labels('items')")
    hint = str(raised.value.diag.message_hint)
    assert hint == "select sidecar.set_labels('public.items', array['mug', 'chair'], target => 'embedding');"
    await run(db, hint)
    await run(db, "select sidecar.set_labels('items', '{}')")
    with pytest.raises(psycopg.Error, match="has no labels"):
        await run(db, "select * from sidecar.labels('items')")
