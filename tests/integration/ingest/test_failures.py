"""Rows that cannot be embedded: each becomes a failure with a reason, and holds up no other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from PIL import Image

from sidecar.batching.encoder import PreparedText
from sidecar.errors import DeviceError, DeviceOutOfMemory
from sidecar.ingest.decision import MAX_ATTEMPTS
from tests.encoders import SPOILT_WORD, SpoilingEncoder
from tests.integration.ingest.composition import DIMENSIONS, running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, insert_titles, make_pictures, make_texts
from tests.integration.ingest.watched_table import Connection, picture, run, value
from tests.unit.pictures.decoder.pools import make_slow_picture, wait_until_busy
from tests.unit.pictures.pictures import encode
from tests.waiting import wait_until_async


class PoisonedEncoder(GatedEncoder):
    """Its device raises `fault` for the text 'poison' and, while `dead`, for every text."""

    def __init__(self, fault: type[Exception]) -> None:
        super().__init__()
        self.fault = fault
        self.dead = False
        self._poison = self.prepare_texts(["poison"])[0].token_ids.tobytes()

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        if self.dead or any(text.token_ids.tobytes() == self._poison for text in texts):
            raise self.fault("the device choked")
        return super().encode_texts(texts)


async def test_a_corrupt_picture_among_good_ones_fails_alone(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_pictures(db, 256)
    await run(db, "update items set photo = %s where id = 100", picture(100)[:-200])
    async with running_ingest(database_url, encoder, pictures=True):
        await table.settle_right(encoder)

    assert await value(db, "select count(embedding) from items") == 255
    assert list(await table.failures()) == ['{"id": "100"}']
    row = await value(db, "select f from sidecar.failures f")
    assert "truncated_picture" in row
    assert await value(db, "select failed from sidecar.status") == 1


@in_row_and_companion
async def test_a_corrected_source_clears_the_failure(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_pictures(db, 1, companion=companion)
    async with running_ingest(database_url, encoder, pictures=True, decode_processes=1):
        await table.settle_right(encoder)
        await run(db, "update items set photo = 'not a picture'")
        await table.settle_right(encoder)
        assert [reason for reason, _ in (await table.failures()).values()] == ["not_a_picture"]
        assert await table.ledger_hash((1,)) == "failed"

        await run(db, "update items set photo = %s", picture(2))
        await table.settle_right(encoder)
        assert await table.failures() == {}

        await run(db, "update items set photo = 'not a picture'")
        await table.settle_right(encoder)
        await run(db, "delete from items")
        await table.settle_right(encoder)
        assert await table.failures() == {}


async def test_retry_encodes_the_row_again(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_pictures(db, 2)
    await run(db, "update items set photo = 'bad' || photo::text::bytea where id = 1")
    async with running_ingest(database_url, encoder, pictures=True, decode_processes=1, max_image_bytes=2048):
        await table.settle()
        assert {reason for reason, _ in (await table.failures()).values()} == {"too_many_bytes"}
        assert "MAX_IMAGE_BYTES" in (await table.failures())['{"id": "2"}'][1]
    async with running_ingest(database_url, encoder, pictures=True, decode_processes=1):
        assert await value(db, "select sidecar.retry('items', reason => 'too_many_bytes')") == 2
        await table.settle_right(encoder)
        assert await value(db, "select embedding is not null from items where id = 2")
        assert {key: reason for key, (reason, _) in (await table.failures()).items()} == {
            '{"id": "1"}': "not_a_picture"
        }


@in_row_and_companion
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "if new.embedding is not null then raise exception 'no vectors on row %', new.id; end if; return new",
            "write_rejected",
        ),
        ("return null", "write_suppressed"),
    ],
    ids=["rejected", "suppressed"],
)
async def test_a_table_that_rejects_one_vector_gets_all_the_others(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None, body: str, reason: str
) -> None:
    table = await make_texts(db, 70, companion=companion)
    home = companion or "items"
    await run(db, f"create function refuse() returns trigger language plpgsql as $$ begin {body}; end $$")
    await run(
        db,
        f"create trigger refuse before update or insert on {home} for each row "
        "when (new.id = 33) execute function refuse()",
    )
    async with running_ingest(database_url, encoder):
        await table.settle()

        assert {key: reason for key, (reason, _) in (await table.failures()).items()} == {'{"id": "33"}': reason}
        assert await value(db, f"select count(embedding) from {home}") == 69
        if reason == "write_rejected":
            assert "no vectors on row 33" in (await table.failures())['{"id": "33"}'][1]

        await run(db, f"drop trigger refuse on {home}")
        await run(db, "select sidecar.retry('items')")
        await table.settle_right(encoder)
        assert await table.failures() == {}


async def test_a_violated_constraint_is_a_failure_that_names_it(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 5)
    await run(db, "alter table items add constraint no_vector_for_three check (id <> 3 or embedding is null)")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)

    [(reason, message)] = (await table.failures()).values()
    assert reason == "write_rejected"
    assert "no_vector_for_three" in message


async def test_a_row_whose_every_write_is_suppressed_becomes_a_failure_whatever_the_outcome(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_pictures(db, 2)
    async with running_ingest(database_url, encoder, pictures=True, decode_processes=1):
        await table.settle_right(encoder)
        await run(db, "update items set photo = 'not a picture'")
        await table.settle()
        await run(db, "update items set photo = null")
        await table.settle_right(encoder)
        await run(db, "update items set photo = %s", picture(3))
        await table.settle_right(encoder)

        await run(db, "create function refuse() returns trigger language plpgsql as $$ begin return null; end $$")
        await run(
            db,
            "create trigger refuse before update of embedding on items for each row "
            "when (new.id = 1) execute function refuse()",
        )
        await run(db, "update items set photo = 'not a picture'")
        await table.settle()
        assert {r for r, _ in (await table.failures()).values()} == {"write_suppressed", "not_a_picture"}


async def test_a_picture_whose_decoder_is_killed_is_retried(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_pictures(db, 3)
    others = set(psutil.Process().children())
    async with running_ingest(database_url, encoder, pictures=True, decode_processes=1):
        await table.settle_right(encoder)
        [decoder] = set(psutil.Process().children()) - others
        await run(db, "update items set photo = %s where id = 2", make_slow_picture())
        await wait_until_busy(decoder)
        decoder.kill()

        async def is_delayed() -> bool:
            return await table.count("delayed", "attempts = 1") == 1

        await wait_until_async(is_delayed, "the picture to be delayed")
        await table.settle_without_delays()

    assert await table.failures() == {}
    assert await value(db, "select count(embedding) from items") == 3


@pytest.mark.parametrize(
    ("fault", "expected"), [(DeviceError, "device_error"), (DeviceOutOfMemory, "device_out_of_memory")]
)
async def test_a_row_that_breaks_the_device_is_identified_and_fails_alone(
    database_url: str, db: Connection, fault: type[Exception], expected: str
) -> None:
    encoder = PoisonedEncoder(fault)
    table = await make_texts(db)
    await insert_titles(db, 1, 100)
    await run(db, "update items set title = 'poison' where id = 50")
    async with running_ingest(database_url, encoder):

        async def others_are_done() -> bool:
            return bool(await value(db, "select count(embedding) = 99 from items"))

        await wait_until_async(others_are_done, "the other 99 rows")
        await table.settle_without_delays()
        assert not await table.wrong(encoder)

    [(reason, message)] = (await table.failures()).values()
    assert reason == expected
    assert "the device choked" in message
    assert await value(db, "select attempts from sidecar.failures") == MAX_ATTEMPTS


async def test_no_row_fails_while_the_device_fails_on_everything(database_url: str, db: Connection) -> None:
    encoder = PoisonedEncoder(DeviceError)
    encoder.dead = True
    table = await make_texts(db, 10)
    async with running_ingest(database_url, encoder):

        async def has_failed_often() -> bool:
            return encoder.texts["title 1"] > 3

        await wait_until_async(has_failed_often, "some attempts")
        assert await table.count("events", "attempts > 1") == 0
        encoder.dead = False
        await table.settle_right(encoder)

    assert await table.failures() == {}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
async def test_a_text_without_a_finite_vector_fails_alone_with_its_own_reason(
    database_url: str, db: Connection, bad: float
) -> None:
    encoder = SpoilingEncoder(bad, dimensions=DIMENSIONS)
    table = await make_texts(db)
    await insert_titles(db, 1, 100)
    await run(db, "update items set title = %s where id = 50", f"{SPOILT_WORD} of numbers")
    async with running_ingest(database_url, encoder):
        await table.settle()
    assert await value(db, "select count(embedding) from items") == 99
    failures = await table.failures()
    assert list(failures) == ['{"id": "50"}']
    [(reason, message)] = failures.values()
    assert reason == "no_vector"
    assert "MODEL_PRECISION=fp32" in message
    advice = await value(db, "select advice from sidecar.failures_by_reason")
    assert "MODEL_PRECISION=fp32" in advice


async def test_a_picture_one_of_whose_views_has_no_finite_vector_fails_alone(database_url: str, db: Connection) -> None:
    encoder = SpoilingEncoder(dimensions=DIMENSIONS)
    table = await make_pictures(db, 20)
    image = np.full((32, 64, 3), 200, np.uint8)
    image[:, :32] = 0  # the left one of its three crops is black
    await run(db, "update items set photo = %s where id = 7", encode(Image.fromarray(image), "PNG"))
    async with running_ingest(database_url, encoder, pictures=True, enable_tta=True, enable_multi_scale=False):
        await table.settle()
    assert await value(db, "select count(embedding) from items") == 19
    assert {key: reason for key, (reason, _) in (await table.failures()).items()} == {'{"id": "7"}': "no_vector"}


async def test_no_row_fails_while_the_device_computes_nothing_finite(database_url: str, db: Connection) -> None:
    encoder = SpoilingEncoder(dimensions=DIMENSIONS)
    table = await make_texts(db, 10)
    encoder.broken = True
    async with running_ingest(database_url, encoder):

        async def has_failed_often() -> bool:
            return len(encoder.calls) > 6

        await wait_until_async(has_failed_often, "some attempts")
        assert await table.count("events", "attempts > 1") == 0
        assert await value(db, "select count(embedding) from items") == 0
        encoder.broken = False
        await table.settle()
    assert await table.failures() == {}
    assert await value(db, "select count(embedding) from items") == 10


async def test_no_row_fails_while_the_device_has_no_memory_at_all(database_url: str, db: Connection) -> None:
    encoder = PoisonedEncoder(DeviceOutOfMemory)
    encoder.dead = True
    table = await make_texts(db, 10)
    async with running_ingest(database_url, encoder):

        async def has_failed_often() -> bool:
            return encoder.texts["title 1"] > 3

        await wait_until_async(has_failed_often, "some attempts")
        assert await table.count("events", "attempts > 1") == 0
        assert await table.count("delayed") == 0
        encoder.dead = False
        await table.settle_right(encoder)
    assert await table.failures() == {}
