"""Embeds texts and pictures: the one path from content to vector, for requests and for rows."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.admission import Reservation
from sidecar.batching.batcher import Batcher
from sidecar.batching.bulk import BulkRequests
from sidecar.batching.encoder import Encoder, PreparedText
from sidecar.batching.inputs import Kind
from sidecar.batching.job import Lane
from sidecar.batching.preparation import TextPreparation
from sidecar.errors import PictureRejected, TextRejected
from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.pictures.picture import DecodedPicture
from sidecar.telemetry.telemetry import Stage

MAX_TEXT_CHARS = 1000  # of a text that the query cache keeps
MORE_IS_NEEDED = "more_is_needed"

# Reserved while a picture is being decoded, before its size is known: five crops at two scales.
_USUAL_VIEWS = 10
_CACHE_ENTRY_BYTES = 600  # the objects around a text and its vector, as measured
_HASHED_INLINE_BYTES = 64 * 1024  # 40 µs, less than handing it to a thread takes
_NO_VECTOR = (
    "The model has no vector for this {}: the numbers it computes are not finite, or cancel each other out. Try "
    "MODEL_PRECISION=fp32."
)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Embedded:
    """An embedded text or picture. `truncated`: the text was longer than the model reads.

    `vector` is (dimensions,) float32, unit length.

    `tokens` is what the model read: tokens of a text, or views of a picture. `unreadable`: its tokenizer does not know
    at least half of what it read of the text.
    """

    vector: NDArray[np.float32]
    truncated: bool
    tokens: int = 0
    unreadable: bool = False


class Embedder:
    """Prepares texts and pictures, and has the batcher encode them.

    All lanes are prepared alike, so the vectors of queries and rows are in one space.

    At most `ingest_decodes` pictures of INGEST are with the decoders at a time: as many as there are decoder processes
    keep these busy, and more would only queue. BACKFILL leaves one of several decoders free, since a large picture
    takes half a second. Decoders take pictures of queries first, then those of INGEST, then those of BACKFILL.
    `query_cache_bytes` is the memory for vectors of recent query texts; 0 disables the cache.
    """

    def __init__(
        self,
        encoder: Encoder,
        batcher: Batcher,
        decoders: DecoderPool,
        *,
        ingest_decodes: int = 8,
        query_cache_bytes: int = 0,
        max_picture_views: int = _USUAL_VIEWS,
    ) -> None:
        self._encoder = encoder
        self._batcher = batcher
        self._decoders = decoders
        self._telemetry = batcher.telemetry
        self._preparation = TextPreparation(encoder, batcher.preparation)
        self._cache: QueryCache[Embedded] = QueryCache(query_cache_bytes)
        self._cache_enabled = query_cache_bytes > 0
        self._bulk = BulkRequests(batcher, Lane.QUERY)
        self._usual_views = min(_USUAL_VIEWS, max_picture_views)
        self._ingest_decodes = {
            Lane.INGEST: asyncio.Semaphore(ingest_decodes),
            Lane.BACKFILL: asyncio.Semaphore(max(ingest_decodes - 1, 1)),
        }

    @property
    def context_length(self) -> int:
        """Number of tokens that the model reads of a text."""
        return len(self._encoder.prepare_texts(["a"])[0].token_ids)

    @property
    def max_batch_views(self) -> int:
        """The most texts or views that are encoded together."""
        return self._batcher.max_views

    @property
    def devices(self) -> int:
        """Number of devices, whether they work or not."""
        return len(self._batcher.devices)

    @property
    def preparation_threads(self) -> int:
        """Number of threads that tokenise the texts of queries."""
        return self._batcher.preparation.threads_per_lane

    @property
    def query_cache_bytes(self) -> int:
        """Memory now used by the cache of query vectors."""
        return self._cache.held_bytes

    def views_per_s(self, kind: Kind) -> float | None:
        """Texts or picture views that a busy device encodes per second; None while not measured."""
        return self._batcher.views_per_s(kind)

    def reject_if_full(self, lane: Lane, items: int = 1) -> None:
        """Raises Overloaded if that many texts or views do not fit into the lane now: called before a body is read."""
        self._batcher.reject_if_full(lane, items)

    def reserve(self, texts: int, pictures: int) -> AbstractContextManager[Reservation]:
        """Reserves capacity of the query lane for a request, all or nothing, during the block. Raises Overloaded.

        The texts of a bulk request are not included: they wait outside the lane.
        """
        enqueued_texts = 0 if self._bulk.is_bulk(texts) else texts
        return self._batcher.reserve(Lane.QUERY, enqueued_texts + pictures * self._usual_views)

    async def embed_texts(
        self, texts: Sequence[str], lane: Lane, reservation: Reservation | None = None
    ) -> list[Embedded | TextRejected]:
        """One answer per text, in order: a vector, or TextRejected.

        Codes: `empty_text` if canonicalisation leaves nothing, `no_vector` if the model computes no finite numbers,
        `more_is_needed` for a TextPrefix that is too short. Errors of texts are returned, not raised: one row must not
        fail the others. Vectors of queries may come from the cache, and are read-only.

        `reservation` is that of the request, if it holds one: its texts block where a new request is rejected.
        Raises Overloaded, DeviceError.
        """
        if lane is not Lane.QUERY or not self._cache_enabled:
            return await self._encode_whole_or_in_chunks(texts, lane, reservation)
        answers: list[Embedded | TextRejected | None] = [self._cache.get(text) for text in texts]
        unknown = [text for text, answer in zip(texts, answers, strict=True) if answer is None]
        self._telemetry.query_cache_looked_up(len(texts) - len(unknown), len(unknown))
        encoded = iter(await self._encode_whole_or_in_chunks(unknown, lane, reservation) if unknown else [])
        if self._bulk.is_bulk(len(texts)):  # most likely documents, which would evict queries that are repeated
            return [answer or next(encoded) for answer in answers]
        return [answer or self._keep(text, next(encoded)) for text, answer in zip(texts, answers, strict=True)]

    async def embed_picture(self, image: bytes, lane: Lane, reservation: Reservation | None = None) -> Embedded:
        """Decodes and encodes the bytes of one picture.

        `reservation` is that of the request, if it holds one: its pictures block where a new request is rejected.
        Raises PictureRejected (`no_vector` if the model computes no finite numbers of a view), Overloaded, DeviceError.
        """
        with self._preparing(lane, self._usual_views, reservation):
            digest = await _digest(image)
            picture = await self._decode(image, lane)
        vector = await self._batcher.encode_picture(picture, lane, digest, may_block=True)
        if np.isnan(vector[0]):
            await self._batcher.check_device(Kind.PICTURE, lane)
            raise PictureRejected("no_vector", _NO_VECTOR.format("picture"))
        return Embedded(vector, truncated=False, tokens=len(picture.views))

    async def check_device(self, kind: Kind, lane: Lane) -> None:
        """Encodes a known input, to tell a failing device from a failing input. Raises DeviceError for the device."""
        await self._batcher.check_device(kind, lane)

    async def _encode_whole_or_in_chunks(
        self, texts: Sequence[str], lane: Lane, reservation: Reservation | None
    ) -> list[Embedded | TextRejected]:
        """One answer per text, in order. The texts of a bulk request are encoded in chunks, all others together."""
        if lane.is_of_rows or not self._bulk.is_bulk(len(texts)):
            return await self._prepare_and_encode(texts, lane, reservation)
        with self._bulk.reserve(len(texts)) as bulk_reservation:
            return await self._bulk.encode(texts, lambda chunk: self._prepare_and_encode(chunk, lane, bulk_reservation))

    async def _prepare_and_encode(
        self, texts: Sequence[str], lane: Lane, reservation: Reservation | None
    ) -> list[Embedded | TextRejected]:
        """Tokenises texts, and has the batcher encode those that are not rejected. One answer per text, in order."""
        preparing = self._preparing(lane, len(texts), reservation)
        with preparing, self._telemetry.stage(Stage.PREPARE, lane.value, "prepare"):
            prepared = await self._preparation.prepare(texts, lane)
        rejections = [_rejection(text) for text in prepared]
        accepted = [text for text, rejection in zip(prepared, rejections, strict=True) if rejection is None]
        encoded = await self._batcher.encode_texts(accepted, lane, may_block=reservation is not None)
        if np.isnan(encoded[:, 0]).any():
            await self._batcher.check_device(Kind.TEXT, lane)
        vectors = iter(encoded)
        return [rejection or _answer(text, next(vectors)) for text, rejection in zip(prepared, rejections, strict=True)]

    def _preparing(self, lane: Lane, items: int, reservation: Reservation | None) -> AbstractContextManager[None]:
        return self._batcher.preparing(lane, items) if reservation is None else reservation.preparing(items)

    async def _decode(self, image: bytes, lane: Lane) -> DecodedPicture:
        limit: AbstractAsyncContextManager[None] = self._ingest_decodes[lane] if lane.is_of_rows else nullcontext()
        async with limit:
            with self._telemetry.stage(Stage.DECODE, lane.value, "decode"):
                return await self._decoders.decode(image, lane.rank)

    def _keep(self, text: str, answer: Embedded | TextRejected) -> Embedded | TextRejected:
        """Puts a vector into the cache; returns what the cache will return."""
        if isinstance(answer, TextRejected):
            return answer
        vector = answer.vector.copy()  # a row of a larger array, which it would keep alive
        vector.setflags(write=False)
        kept = replace(answer, vector=vector)
        self._cache.put(text, kept, vector.nbytes)
        return kept


async def _digest(image: bytes) -> bytes:
    if len(image) <= _HASHED_INLINE_BYTES:
        return hashlib.sha256(image).digest()
    return (await asyncio.to_thread(hashlib.sha256, image)).digest()


def _answer(text: PreparedText, vector: NDArray[np.float32]) -> Embedded | TextRejected:
    if np.isnan(vector[0]):
        return TextRejected("no_vector", _NO_VECTOR.format("text"))
    return Embedded(vector, text.truncated, text.tokens, text.unreadable)


def _rejection(text: PreparedText) -> TextRejected | None:
    if text.is_short:
        return TextRejected(MORE_IS_NEEDED, "More of this text has to be read.")
    if text.blank:
        return TextRejected("empty_text", "There is nothing to embed in this text: only whitespace and punctuation.")
    return None


class QueryCache(Generic[Answer]):
    """LRU cache from query text to answer, of at most `max_bytes`. Texts longer than MAX_TEXT_CHARS are not kept.

    The key is the text as it was sent, so a hit needs no tokenising. Used on the event loop only.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._answers: OrderedDict[str, tuple[Answer, int]] = OrderedDict()
        self.held_bytes = 0

    def get(self, text: str) -> Answer | None:
        entry = self._answers.get(text)
        if entry is None:
            return None
        self._answers.move_to_end(text)
        return entry[0]

    def put(self, text: str, answer: Answer, vector_bytes: int) -> None:
        """`answer` is shared by all later callers, so it must be immutable."""
        entry_bytes = sys.getsizeof(text) + vector_bytes + _CACHE_ENTRY_BYTES
        if text in self._answers:
            self.held_bytes -= self._answers.pop(text)[1]
        if len(text) > MAX_TEXT_CHARS or entry_bytes > self._max_bytes:
            return
        self._answers[text] = answer, entry_bytes
        self.held_bytes += entry_bytes
        while self.held_bytes > self._max_bytes:
            _, (_, oldest_bytes) = self._answers.popitem(last=False)
            self.held_bytes -= oldest_bytes
