"""Encodes the contents of rows: a packed vector for each, a failure, another attempt later, or a longer read."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TypeAlias

from sidecar.batching.embedder import MORE_IS_NEEDED, Embedded, Embedder
from sidecar.batching.encoder import TextPrefix
from sidecar.batching.inputs import Kind
from sidecar.batching.job import Lane
from sidecar.concurrency import running_tasks
from sidecar.errors import DeviceError, DeviceOutOfMemory, PictureRejected, TextRejected
from sidecar.ingest.decision import MAX_ATTEMPTS, ClaimedKey
from sidecar.postgres.completion import EMPTY, RowOutcome, RowResult
from sidecar.postgres.vectors import Storage, pack_vectors, vector_digest
from sidecar.postgres.watches import Watch
from sidecar.ranked_semaphore import RankedSemaphore

# Codes of pictures that no retry can help. The other codes may come from a passing shortage of memory or time, so those
# pictures are retried.
PERMANENT = {
    "no_vector",
    "not_a_picture",
    "truncated_picture",
    "unsupported_format",
    "too_many_pixels",
    "too_many_bytes",
}
# Of eight views each: several micro-batches of 32 for each device, of which one runs and one is being decoded.
_MAX_PICTURES, _PICTURES_PER_DEVICE = 64, 32
_BACKFILL_PICTURES = 0.75  # of them; the rest is kept free for live changes
_BACKFILL_SHARE = 0.1  # of the slots, while live changes need more of them than there are


@dataclass(frozen=True, slots=True)
class RetryLater:
    """A row to be retried after a delay; the attempt counts."""

    claimed: ClaimedKey
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ReadMore:
    """A text of which a longer beginning must be read."""

    claimed: ClaimedKey


EncodingResult: TypeAlias = RowResult | RetryLater | ReadMore


class RowEncoder:
    """Encodes rows with the embedder. Bounds the decoded pictures in memory, over all batches in flight."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        pictures = max(_MAX_PICTURES, _PICTURES_PER_DEVICE * embedder.devices)
        self._picture_slots = RankedSemaphore(pictures, {Lane.BACKFILL.rank: _BACKFILL_SHARE})
        self._backfill_slots = asyncio.Semaphore(round(pictures * _BACKFILL_PICTURES))

    async def encode(self, watch: Watch, rows: Sequence[tuple[ClaimedKey, bytes]], lane: Lane) -> list[EncodingResult]:
        """One result per row, in order. `rows` are claimed keys of the watch with their contents.

        Rows that fail together are encoded one by one, to find out which of them the device cannot encode. Raises
        DeviceError if the device itself fails, and DecoderUnavailable.
        """
        if not rows:
            return []
        try:
            return await self._encode_together(watch, rows, lane)
        except DeviceError:
            return [await self._encode_alone(watch, row, lane) for row in rows]

    async def _encode_together(
        self, watch: Watch, rows: Sequence[tuple[ClaimedKey, bytes]], lane: Lane
    ) -> list[EncodingResult]:
        if watch.kind == "text":
            return await self._encode_texts(watch, rows, lane)
        pictures = {
            f"encode-picture-{n}": self._encode_picture(watch, claimed, content, lane)
            for n, (claimed, content) in enumerate(rows)
        }
        async with running_tasks(pictures) as tasks:
            return [await task for task in tasks]

    async def _encode_alone(self, watch: Watch, row: tuple[ClaimedKey, bytes], lane: Lane) -> EncodingResult:
        """Encodes one row. Blames it if the device fails on it and then succeeds on a known input of the same kind."""
        try:
            return (await self._encode_together(watch, [row], lane))[0]
        except DeviceError as error:
            await self._embedder.check_device(Kind.TEXT if watch.kind == "text" else Kind.PICTURE, lane)
            out_of_memory = isinstance(error, DeviceOutOfMemory)
            return _retry_or_fail(row[0], "device_out_of_memory" if out_of_memory else "device_error", str(error))

    async def _encode_texts(
        self, watch: Watch, rows: Sequence[tuple[ClaimedKey, bytes]], lane: Lane
    ) -> list[EncodingResult]:
        texts = [_decode(claimed, content) for claimed, content in rows]
        answers = await self._embedder.embed_texts(texts, lane)
        encoded = [(claimed, answer) for (claimed, _), answer in zip(rows, answers, strict=True)]
        return pack_results(encoded, watch.identifiers.storage)

    async def _encode_picture(self, watch: Watch, claimed: ClaimedKey, content: bytes, lane: Lane) -> EncodingResult:
        async with self._picture_slot(lane):
            try:
                answer = await self._embedder.embed_picture(content, lane)
            except PictureRejected as error:
                if error.code in PERMANENT:
                    return claimed.failure(error.code, error.message)
                return _retry_or_fail(claimed, error.code, error.message)
        return pack_results([(claimed, answer)], watch.identifiers.storage)[0]

    @asynccontextmanager
    async def _picture_slot(self, lane: Lane) -> AsyncIterator[None]:
        async with (
            self._backfill_slots if lane is Lane.BACKFILL else nullcontext(),
            self._picture_slots.slot(lane.rank),
        ):
            yield


def _retry_or_fail(claimed: ClaimedKey, reason: str, message: str) -> EncodingResult:
    """Another attempt while some are left, else a failure."""
    if claimed.attempts >= MAX_ATTEMPTS:
        return claimed.failure(reason, message)
    return RetryLater(claimed, reason, message)


def _decode(claimed: ClaimedKey, content: bytes) -> str:
    if not claimed.is_beginning:
        return content.decode("utf-8", "replace")
    # The beginning may end within a character.
    return TextPrefix(codecs.getincrementaldecoder("utf-8")("replace").decode(content))


def pack_results(
    answers: Sequence[tuple[ClaimedKey, Embedded | TextRejected]], storage: Storage
) -> list[EncodingResult]:
    """Results in the same order; all vectors are packed in one call."""
    packed = iter(pack_vectors([a.vector for _, a in answers if isinstance(a, Embedded)], storage))
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
