"""Embedding texts and pictures, with real decoder processes."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sidecar.batching.batcher import Batcher
from sidecar.batching.devices import Devices
from sidecar.batching.embedder import Embedded, Embedder
from sidecar.batching.encoder import Encoder, PreparedText
from sidecar.batching.job import Lane
from sidecar.batching.lanes import BatchSettings
from sidecar.concurrency import background
from sidecar.errors import Overloaded, PictureRejected, TextRejected
from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.pictures.decoder.settings import DecoderSettings
from sidecar.pictures.views.settings import ViewSettings
from tests.encoders import HashEncoder
from tests.unit.pictures.pictures import encode
from tests.waiting import wait_until_async

BATCHES = BatchSettings(max_views=8, window_s=0.0, query_queue_views=64, ingest_queue_views=64, ingest_min_share=0.1)
VIEWS = ViewSettings(
    view_size=32,
    enable_tta=True,
    crop_size=32,
    scale_factors=(1.0, 1.35),
    max_scaled_dim=256,
    panorama_max_ratio=2.6,
)
VIEWS_OF_PHOTO = 8
DECODERS = DecoderSettings(
    views=VIEWS, processes=1, timeout_s=10, max_image_bytes=1 << 20, max_image_pixels=10**7, memory_bytes=1 << 30
)

MakeEmbedder: TypeAlias = Callable[..., AbstractAsyncContextManager[Embedder]]


@pytest.fixture
def running_embedder() -> MakeEmbedder:
    """`async with running_embedder(query_queue_views=…) as embedder`: the batch settings named are changed."""

    @asynccontextmanager
    async def run(
        encoder: Encoder | None = None, *, query_cache_bytes: int = 0, processes: int = 1, **changes: int
    ) -> AsyncIterator[Embedder]:
        encoder = encoder or HashEncoder()
        batcher = Batcher(Devices([encoder]), replace(BATCHES, **changes))
        decoders = DecoderPool(replace(DECODERS, processes=processes))
        await decoders.start()
        try:
            async with background(batcher.run(), "batcher"):
                yield Embedder(
                    encoder, batcher, decoders, ingest_decodes=processes, query_cache_bytes=query_cache_bytes
                )
        finally:
            await decoders.close()

    return run


def photo(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (60, 80, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("lane", Lane)
async def test_texts_are_answered_in_order_and_a_blank_one_does_not_affect_others(
    running_embedder: MakeEmbedder, lane: Lane
) -> None:
    encoder = HashEncoder()
    async with running_embedder(encoder) as embedder:
        answers = await embedder.embed_texts(["a", " ", " ".join("abcd" * 20), "a"], lane)
    assert isinstance(answers[1], TextRejected)
    assert answers[1].code == "empty_text"
    embedded = [answer for answer in answers if isinstance(answer, Embedded)]
    assert [answer.truncated for answer in embedded] == [False, True, False]
    np.testing.assert_array_equal(embedded[0].vector, encoder.vector_of("a"))
    np.testing.assert_array_equal(embedded[0].vector, embedded[2].vector)


async def test_a_query_and_a_row_with_the_same_picture_have_the_same_vector(running_embedder: MakeEmbedder) -> None:
    async with running_embedder() as embedder:
        query, row, other = await asyncio.gather(
            embedder.embed_picture(photo(1), Lane.QUERY),
            embedder.embed_picture(photo(1), Lane.INGEST),
            embedder.embed_picture(photo(2), Lane.INGEST),
        )
    np.testing.assert_array_equal(query.vector, row.vector)
    assert float(query.vector @ other.vector) < 0.9


async def test_one_bad_picture_does_not_affect_others(running_embedder: MakeEmbedder) -> None:
    pictures = [photo(1), b"no picture", photo(2)]
    async with running_embedder() as embedder:
        good, bad, also_good = await asyncio.gather(
            *(embedder.embed_picture(one, Lane.INGEST) for one in pictures), return_exceptions=True
        )
    assert isinstance(bad, PictureRejected)
    assert isinstance(good, Embedded)
    assert isinstance(also_good, Embedded)


async def test_a_querys_picture_is_not_decoded_behind_a_backlog_of_rows(running_embedder: MakeEmbedder) -> None:
    done: list[str] = []

    async def embed(name: str, image: bytes, lane: Lane) -> None:
        await embedder.embed_picture(image, lane)
        done.append(name)

    async with running_embedder() as embedder, asyncio.TaskGroup() as tasks:
        for number in range(12):
            tasks.create_task(embed("row", photo(number), Lane.INGEST), name=f"row {number}")
        await asyncio.sleep(0)  # the rows come first
        tasks.create_task(embed("query", photo(99), Lane.QUERY), name="query")
    assert done.index("query") <= 2


async def test_a_backfill_leaves_a_decoder_free_for_the_picture_of_a_row_that_changes(
    running_embedder: MakeEmbedder,
) -> None:
    async with running_embedder(processes=2) as embedder:
        large = encode(Image.new("1", (3100, 3100)), "PNG")  # takes a tenth of a second
        backfill = [
            asyncio.create_task(embedder.embed_picture(large, Lane.BACKFILL), name=f"backfill-{i}") for i in range(3)
        ]
        for _ in range(5):
            await asyncio.sleep(0)  # they are there first
        await embedder.embed_picture(photo(1), Lane.INGEST)
        assert not any(task.done() for task in backfill[1:])
        await asyncio.gather(*backfill)


async def test_a_full_lane_rejects_a_query_before_any_work_is_done_for_it(running_embedder: MakeEmbedder) -> None:
    class Untouchable(HashEncoder):
        def prepare_texts(self, texts: object) -> list[object]:  # type: ignore[override]
            raise AssertionError("tokenised")

    async with running_embedder(Untouchable(), query_queue_views=5) as embedder:
        batcher = embedder._batcher
        with batcher.preparing(Lane.QUERY, 5):
            with pytest.raises(Overloaded):
                await embedder.embed_texts(["a"], Lane.QUERY)
            with pytest.raises(Overloaded):
                await embedder.embed_picture(b"not even looked at", Lane.QUERY)


async def test_a_repeated_query_text_needs_neither_tokenizer_nor_device(running_embedder: MakeEmbedder) -> None:
    encoder = HashEncoder()
    async with running_embedder(encoder, query_cache_bytes=1 << 20) as embedder:
        first = await embedder.embed_texts(["a", " ", "a b"], Lane.QUERY)
        calls = len(encoder.calls)
        with embedder._batcher.preparing(Lane.QUERY, 64):  # the lane is full, which does not matter
            again = await embedder.embed_texts(["a b", "a"], Lane.QUERY)
        assert len(encoder.calls) == calls
        assert again == [first[2], first[0]]
        mixed = await embedder.embed_texts(["new", "a", " ", "new"], Lane.QUERY)
        assert encoder.calls[calls:] == [1]
        metrics = embedder._telemetry.metrics.registry
    assert isinstance(mixed[2], TextRejected)
    for text, answer in zip(("new", "a", "new"), (mixed[0], mixed[1], mixed[3]), strict=True):
        assert isinstance(answer, Embedded)
        np.testing.assert_array_equal(answer.vector, encoder.vector_of(text))
        with pytest.raises(ValueError, match="read-only"):
            answer.vector[0] = 0
    lookups = {
        result: metrics.get_sample_value("sidecar_query_cache_lookups_total", {"result": result})
        for result in ("hit", "miss")
    }
    assert lookups == {"hit": 3, "miss": 6}


async def test_rows_do_not_use_the_query_cache(running_embedder: MakeEmbedder) -> None:
    encoder = HashEncoder()
    async with running_embedder(encoder, query_cache_bytes=1 << 20) as embedder:
        await embedder.embed_texts(["a"], Lane.INGEST)
        assert embedder.query_cache_bytes == 0
        await embedder.embed_texts(["a"], Lane.QUERY)
        assert embedder.query_cache_bytes > 1152 * 4
        await embedder.embed_texts(["a"], Lane.INGEST)
    assert encoder.calls == [1, 1, 1]


async def test_the_same_picture_in_one_micro_batch_is_encoded_once(running_embedder: MakeEmbedder) -> None:
    encoder = BlockedEncoder()
    async with running_embedder(encoder, max_views=64) as embedder:
        blocker = asyncio.create_task(embedder.embed_texts(["blocker"], Lane.QUERY), name="blocker")
        await asyncio.to_thread(encoder.began.acquire)
        embeddings = [
            embedder.embed_picture(photo(seed), lane) for seed in (1, 2, 1) for lane in (Lane.QUERY, Lane.INGEST)
        ]
        pictures = asyncio.gather(*embeddings)

        async def all_are_enqueued() -> bool:
            return embedder._batcher.waiting(Lane.QUERY) + embedder._batcher.waiting(Lane.INGEST) == 6 * VIEWS_OF_PHOTO

        await wait_until_async(all_are_enqueued, "all pictures in their lanes")
        encoder.go.set()
        vectors = [answer.vector for answer in await pictures]
        await blocker
    assert encoder.calls[1:] == [2 * VIEWS_OF_PHOTO]
    np.testing.assert_array_equal(vectors[0], vectors[5])
    assert not np.array_equal(vectors[0], vectors[2])


class BlockedEncoder(HashEncoder):
    """Each call for texts blocks until `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.began = threading.Semaphore(0)
        self.go = threading.Event()

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        self.began.release()
        assert self.go.wait(10)
        return super().encode_texts(texts)


async def test_a_caller_cancelled_while_its_picture_is_decoded_frees_its_capacity_at_once(
    running_embedder: MakeEmbedder,
) -> None:
    async with running_embedder() as embedder:
        batcher = embedder._batcher
        leaving = asyncio.create_task(embedder.embed_picture(photo(1), Lane.QUERY), name="leaving")
        await asyncio.sleep(0)
        assert batcher.depth(Lane.QUERY).reserved == 10
        leaving.cancel()
        await asyncio.sleep(0)
        assert batcher.depth(Lane.QUERY).reserved == 0
        await asyncio.wait([leaving])
        dropped = embedder._telemetry.metrics.registry.get_sample_value("sidecar_dropped_jobs_total", {"lane": "query"})
        assert dropped == 1


async def test_a_later_picture_of_a_request_blocks_where_a_new_one_is_rejected(running_embedder: MakeEmbedder) -> None:
    async with running_embedder() as embedder, asyncio.timeout(10):
        with embedder.reserve(texts=0, pictures=1) as reservation:
            reservation.release()  # as if the picture had more views than reserved
        with embedder._batcher.preparing(Lane.QUERY, 64):
            with pytest.raises(Overloaded):
                await embedder.embed_picture(photo(1), Lane.QUERY)
            later = asyncio.create_task(embedder.embed_picture(photo(1), Lane.QUERY, reservation), name="later")

            async def is_blocked() -> bool:
                return embedder._batcher._admission.has_blocked_jobs

            await wait_until_async(is_blocked, "the picture to block")
        later_one = await asyncio.wait_for(later, 10)
        np.testing.assert_array_equal(later_one.vector, (await embedder.embed_picture(photo(1), Lane.QUERY)).vector)


async def test_capacity_for_pictures_and_texts_of_a_request_is_reserved_together(
    running_embedder: MakeEmbedder,
) -> None:
    async with running_embedder(query_queue_views=31) as embedder, asyncio.timeout(10):
        depth = embedder._batcher.depth
        with embedder.reserve(texts=1, pictures=3) as reservation:
            for rejected in (embedder.embed_texts(["b"], Lane.QUERY), embedder.embed_picture(photo(1), Lane.QUERY)):
                with pytest.raises(Overloaded):
                    await rejected
            await embedder.embed_texts(["a"], Lane.QUERY, reservation)
            assert depth(Lane.QUERY).reserved == 30
            await embedder.embed_picture(photo(1), Lane.QUERY, reservation)
            assert depth(Lane.QUERY).reserved == 20
            await embedder.embed_texts(["b"], Lane.QUERY)
        assert depth(Lane.QUERY).reserved == 0


async def test_less_capacity_is_reserved_for_pictures_that_have_one_view(running_embedder: MakeEmbedder) -> None:
    async with running_embedder() as embedder:
        one_view = Embedder(HashEncoder(), embedder._batcher, embedder._decoders, max_picture_views=1)
        with one_view.reserve(texts=0, pictures=5):
            assert embedder._batcher.depth(Lane.QUERY).reserved == 5
