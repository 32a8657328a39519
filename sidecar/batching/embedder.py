"""From a text or the bytes of a picture to its vector: the one path, for REST and for rows."""

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

from sidecar.batching.admission import Place
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

# Reserved while a picture is being decoded, before its size is known: five crops at two scales.
_USUAL_VIEWS = 10
_NO_VECTOR = (
    "The model has no vector for this {}: the numbers it computes are not finite, or cancel each other out. Try "
    "MODEL_PRECISION=fp32."
)
MORE_IS_NEEDED = "more_is_needed"
_HASHED_AT_ONCE_BYTES = 64 * 1024  # 40 µs, less than it takes to hand it to a thread


@dataclass(frozen=True, slots=True)
class Embedded:
    """`vector` is (dimensions,) float32, unit length. `truncated`: the text was longer than the model reads.
    `unreadable`: at least half of what it reads of the text its tokenizer does not know.

    `tokens` is what the model read of it: the tokens of a text, or the views of a picture.
    """

    vector: NDArray[np.float32]
    truncated: bool
    tokens: int = 0
    unreadable: bool = False


class Embedder:
    """All lanes go through the same preparation, so query and row vectors live in one space.

    At most `ingest_decodes` pictures of rows that changed are with the decoders at once. As many as there are decoder
    processes keep them busy; more would only stand in line. A backfill leaves one of several free: a large picture
    takes half a second, which others need not wait for. The decoders take a query's picture before one that changed,
    and that before one of a backfill.
    `query_cache_bytes` is the memory for vectors of recent query texts, 0: none are kept.
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
        self._caches = query_cache_bytes > 0
        self._bulk = BulkRequests(batcher, Lane.QUERY)
        self._usual_views = min(_USUAL_VIEWS, max_picture_views)
        self._ingest_decodes = {
            Lane.INGEST: asyncio.Semaphore(ingest_decodes),
            Lane.BACKFILL: asyncio.Semaphore(max(ingest_decodes - 1, 1)),
        }

    @property
    def context_length(self) -> int:
        """Tokens that the model reads of a text."""
        return len(self._encoder.prepare_texts(["a"])[0].token_ids)

    @property
    def max_batch_views(self) -> int:
        """Texts or views that are encoded together, at most."""
        return self._batcher.max_views

    @property
    def preparation_threads(self) -> int:
        """Threads that tokenise the texts of queries."""
        return self._batcher.preparation.threads_of_a_lane

    @property
    def query_cache_bytes(self) -> int:
        """Memory that the vectors of recent query texts hold now."""
        return self._cache.held_bytes

    def views_per_s(self, kind: Kind) -> float | None:
        """How many texts or picture views the device does in a second when it has enough; None while not measured."""
        return self._batcher.views_per_s(kind)

    def refuse_if_full(self, lane: Lane, units: int = 1) -> None:
        """Raises Overloaded if so many views do not fit into the lane now: to be asked before a body is read."""
        self._batcher.refuse_if_full(lane, units)

    def admitted(self, texts: int, pictures: int) -> AbstractContextManager[Place]:
        """Admits a request of this size, as a whole or not at all, for the length of the block. Raises Overloaded.

        Texts of a bulk request have no part in it: they wait outside the lane.
        """
        in_lane = 0 if self._bulk.is_bulk(texts) else texts
        return self._batcher.admitted(Lane.QUERY, in_lane + pictures * self._usual_views)

    async def embed_texts(
        self, texts: Sequence[str], lane: Lane, place: Place | None = None
    ) -> list[Embedded | TextRejected]:
        """One answer for each text, in order: its vector, or TextRejected where nothing is left of it (`empty_text`),
        the model computes no finite numbers of it (`no_vector`), or it is a Beginning that is too short to tell
        (`more_is_needed`).

        The error is returned, not raised: one row must not fail the others. Vectors of queries may be kept and
        handed out again, so they are read-only. `place` is that of their request, if it was let in.
        Raises Overloaded, DeviceError.
        """
        if lane is not Lane.QUERY or not self._caches:
            return await self._encode(texts, lane, place)
        answers: list[Embedded | TextRejected | None] = [self._cache.get(text) for text in texts]
        unknown = [text for text, answer in zip(texts, answers, strict=True) if answer is None]
        self._telemetry.query_cache_looked_up(len(texts) - len(unknown), len(unknown))
        encoded = iter(await self._encode(unknown, lane, place) if unknown else [])
        if self._bulk.is_bulk(len(texts)):  # documents, most likely: they would push out the queries that come again
            return [answer or next(encoded) for answer in answers]
        return [answer or self._keep(text, next(encoded)) for text, answer in zip(texts, answers, strict=True)]

    async def embed_picture(self, image: bytes, lane: Lane, place: Place | None = None) -> Embedded:
        """Decode and encode the bytes of one picture. Raises PictureRejected, Overloaded, DeviceError.

        PictureRejected `no_vector`: the model computes no finite numbers of one of its views.
        With the `place` of a request that was let in it waits where a new request would be refused.
        """
        with self._room(lane, self._usual_views, place):
            digest = await _digest(image)
            picture = await self._decode(image, lane)
        vector = await self._batcher.encode_picture(picture, lane, digest, admitted=True)
        if np.isnan(vector[0]):
            await self._batcher.check_device(Kind.PICTURE, lane)
            raise PictureRejected("no_vector", _NO_VECTOR.format("picture"))
        return Embedded(vector, truncated=False, tokens=len(picture.views))

    async def check_device(self, kind: Kind, lane: Lane) -> None:
        """Is the device, rather than an input, to blame? Raises DeviceError if it fails on a known input as well."""
        await self._batcher.check_device(kind, lane)

    async def _encode(self, texts: Sequence[str], lane: Lane, place: Place | None) -> list[Embedded | TextRejected]:
        if lane.is_of_rows or not self._bulk.is_bulk(len(texts)):
            return await self._encode_texts(texts, lane, place)
        with self._bulk.admitted(len(texts)) as outside:
            return await self._bulk.encode(texts, lambda part: self._encode_texts(part, lane, outside))

    async def _encode_texts(
        self, texts: Sequence[str], lane: Lane, place: Place | None
    ) -> list[Embedded | TextRejected]:
        room = self._room(lane, len(texts), place)
        with room, self._telemetry.stage(Stage.PREPARE, lane.value, "prepare"):
            prepared = await self._preparation.prepare(texts, lane)
        refused = [_refusal(text) for text in prepared]
        meaningful = [text for text, refusal in zip(prepared, refused, strict=True) if refusal is None]
        encoded = await self._batcher.encode_texts(meaningful, lane, admitted=place is not None)
        if np.isnan(encoded[:, 0]).any():
            await self._batcher.check_device(Kind.TEXT, lane)
        vectors = iter(encoded)
        return [refusal or _answer(text, next(vectors)) for text, refusal in zip(prepared, refused, strict=True)]

    def _room(self, lane: Lane, units: int, place: Place | None) -> AbstractContextManager[None]:
        return self._batcher.reserved(lane, units) if place is None else place.part(units)

    async def _decode(self, image: bytes, lane: Lane) -> DecodedPicture:
        places: AbstractAsyncContextManager[None] = self._ingest_decodes[lane] if lane.is_of_rows else nullcontext()
        async with places:
            with self._telemetry.stage(Stage.DECODE, lane.value, "decode"):
                return await self._decoders.decode(image, lane.rank)

    def _keep(self, text: str, answer: Embedded | TextRejected) -> Embedded | TextRejected:
        if isinstance(answer, TextRejected):
            return answer
        vector = answer.vector.copy()  # a row of a larger array, which it would keep alive
        vector.setflags(write=False)
        kept = replace(answer, vector=vector)
        self._cache.put(text, kept, vector.nbytes)
        return kept


async def _digest(image: bytes) -> bytes:
    if len(image) <= _HASHED_AT_ONCE_BYTES:
        return hashlib.sha256(image).digest()
    return (await asyncio.to_thread(hashlib.sha256, image)).digest()


def _answer(text: PreparedText, vector: NDArray[np.float32]) -> Embedded | TextRejected:
    if np.isnan(vector[0]):
        return TextRejected("no_vector", _NO_VECTOR.format("text"))
    return Embedded(vector, text.truncated, text.tokens, text.unreadable)


def _refusal(text: PreparedText) -> TextRejected | None:
    if text.is_short:
        return TextRejected(MORE_IS_NEEDED, "More of this text has to be read.")
    if text.blank:
        return TextRejected("empty_text", "Nothing of this text is left to embed: only blanks and punctuation.")
    return None


MAX_TEXT_CHARS = 1000
_ENTRY_BYTES = 600  # the objects around a text and its vector, as measured

Answer = TypeVar("Answer")


class QueryCache(Generic[Answer]):
    """Keeps the answers to the texts asked for last, in at most `max_bytes`. Longer texts than MAX_TEXT_CHARS are not.

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
        """`answer` is handed out as it is from now on, so nobody may be able to change it."""
        entry_bytes = sys.getsizeof(text) + vector_bytes + _ENTRY_BYTES
        if text in self._answers:
            self.held_bytes -= self._answers.pop(text)[1]
        if len(text) > MAX_TEXT_CHARS or entry_bytes > self._max_bytes:
            return
        self._answers[text] = answer, entry_bytes
        self.held_bytes += entry_bytes
        while self.held_bytes > self._max_bytes:
            _, (_, oldest_bytes) = self._answers.popitem(last=False)
            self.held_bytes -= oldest_bytes
