"""Contents of rows → results that carry packed vectors, or say why there is none."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TypeAlias

from sidecar.batching.embedder import MORE_IS_NEEDED, Embedded, Embedder
from sidecar.batching.encoder import Beginning
from sidecar.batching.inputs import Kind
from sidecar.batching.job import Lane
from sidecar.concurrency import running_tasks
from sidecar.errors import DeviceError, DeviceOutOfMemory, PictureRejected, TextRejected
from sidecar.ingest.decision import MAX_ATTEMPTS, ClaimedKey
from sidecar.postgres.completion import EMPTY, RowOutcome, RowResult
from sidecar.postgres.vectors import pack_vectors, vector_digest
from sidecar.ranked_semaphore import RankedSemaphore

# The picture alone is to blame for these for certain. The other reasons may have been a passing shortage of memory or
# time, so they are tried again.
CERTAIN = {"no_vector", "not_a_picture", "truncated_picture", "unsupported_format", "too_many_pixels", "too_many_bytes"}
_PICTURES_AT_ONCE, _BACKFILL_PICTURES_AT_ONCE = 64, 48  # the others are for pictures that change meanwhile
_BACKFILL_SHARE = 0.1  # of the places, where changes need more of them than there are


@dataclass(frozen=True, slots=True)
class RetryLater:
    """A row to be tried again after a while; the attempt counts."""

    claimed: ClaimedKey
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ReadMore:
    """A row of whose text more has to be read than was."""

    claimed: ClaimedKey


EncodingResult: TypeAlias = RowResult | RetryLater | ReadMore


class RowEncoder:
    """The side of the embedder that rows see. Decoded pictures in memory are bounded over all batches in hand."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._places = RankedSemaphore(_PICTURES_AT_ONCE, {Lane.BACKFILL.rank: _BACKFILL_SHARE})
        self._backfill_places = asyncio.Semaphore(_BACKFILL_PICTURES_AT_ONCE)

    async def encode(self, kind: str, rows: Sequence[tuple[ClaimedKey, bytes]], lane: Lane) -> list[EncodingResult]:
        """One answer per row, in order. Raises DeviceError where no row is to blame, and DecoderUnavailable."""
        if not rows:
            return []
        try:
            return await self._encode_together(kind, rows, lane)
        except DeviceError:
            return [await self._encode_alone(kind, row, lane) for row in rows]

    async def _encode_together(
        self, kind: str, rows: Sequence[tuple[ClaimedKey, bytes]], lane: Lane
    ) -> list[EncodingResult]:
        if kind == "text":
            return await self._encode_texts(rows, lane)
        pictures = {
            f"encode-picture-{n}": self._encode_picture(claimed, content, lane)
            for n, (claimed, content) in enumerate(rows)
        }
        async with running_tasks(pictures) as tasks:
            return [await task for task in tasks]

    async def _encode_alone(self, kind: str, row: tuple[ClaimedKey, bytes], lane: Lane) -> EncodingResult:
        """A row is to blame if the device fails on it alone, and then does not on a known input of the same kind."""
        try:
            return (await self._encode_together(kind, [row], lane))[0]
        except DeviceError as error:
            await self._embedder.check_device(Kind.TEXT if kind == "text" else Kind.PICTURE, lane)
            full = isinstance(error, DeviceOutOfMemory)
            return _later(row[0], "device_out_of_memory" if full else "device_error", str(error))

    async def _encode_texts(self, rows: Sequence[tuple[ClaimedKey, bytes]], lane: Lane) -> list[EncodingResult]:
        texts = [_decode(claimed, content) for claimed, content in rows]
        answers = await self._embedder.embed_texts(texts, lane)
        return pack_results([(claimed, answer) for (claimed, _), answer in zip(rows, answers, strict=True)])

    async def _encode_picture(self, claimed: ClaimedKey, content: bytes, lane: Lane) -> EncodingResult:
        async with self._place(lane):
            try:
                answer = await self._embedder.embed_picture(content, lane)
            except PictureRejected as error:
                if error.code in CERTAIN:
                    return claimed.failure(error.code, error.message)
                return _later(claimed, error.code, error.message)
        return pack_results([(claimed, answer)])[0]

    @asynccontextmanager
    async def _place(self, lane: Lane) -> AsyncIterator[None]:
        async with self._backfill_places if lane is Lane.BACKFILL else nullcontext(), self._places.place(lane.rank):
            yield


def _later(claimed: ClaimedKey, reason: str, message: str) -> EncodingResult:
    """Another attempt while there are some left, else a failure."""
    if claimed.attempts >= MAX_ATTEMPTS:
        return claimed.failure(reason, message)
    return RetryLater(claimed, reason, message)


def _decode(claimed: ClaimedKey, content: bytes) -> str:
    if not claimed.is_beginning:
        return content.decode("utf-8", "replace")
    # Where it was cut may be within a character.
    return Beginning(codecs.getincrementaldecoder("utf-8")("replace").decode(content))


def pack_results(answers: Sequence[tuple[ClaimedKey, Embedded | TextRejected]]) -> list[EncodingResult]:
    """Results in the same order; the vectors are packed in one go."""
    packed = iter(pack_vectors([a.vector for _, a in answers if isinstance(a, Embedded)]))
    results: list[EncodingResult] = []
    for claimed, answer in answers:
        if isinstance(answer, TextRejected) and answer.code == MORE_IS_NEEDED:
            results.append(ReadMore(claimed))
            continue
        if isinstance(answer, TextRejected):
            is_empty = answer.code == "empty_text"
            empty = claimed.result(RowOutcome.EMPTY, EMPTY)
            results.append(empty if is_empty else claimed.failure(answer.code, answer.message))
            continue
        vector = next(packed)
        results.append(
            replace(
                claimed.result(RowOutcome.VECTOR, claimed.content_hash),
                packed_vector=vector,
                vector_digest=vector_digest(vector),
                truncated=answer.truncated,
                unreadable=answer.unreadable,
            )
        )
    return results
