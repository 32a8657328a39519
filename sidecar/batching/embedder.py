"""From a text or the bytes of a picture to its vector: the one path, for REST and for rows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.batcher import Batcher
from sidecar.batching.encoder import Encoder
from sidecar.batching.job import Kind
from sidecar.batching.lane import Lane
from sidecar.errors import TextRejected
from sidecar.pictures.pool import DecoderPool

# Reserved while a picture is being decoded, before its size is known: five crops at two scales.
_USUAL_VIEWS = 10


@dataclass(frozen=True, slots=True)
class Embedded:
    """`vector` is (dimensions,) float32, unit length. `truncated`: the text was longer than the model reads."""

    vector: NDArray[np.float32]
    truncated: bool


class Embedder:
    """Both lanes go through the same preparation, so query and row vectors live in one space.

    At most `ingest_decodes` pictures of rows are with the decoders at once. As many as there are decoder processes keep
    them busy; more would only stand before a query's picture, which the decoders take in order of arrival.
    """

    def __init__(self, encoder: Encoder, batcher: Batcher, decoders: DecoderPool, *, ingest_decodes: int = 8) -> None:
        self._encoder = encoder
        self._batcher = batcher
        self._decoders = decoders
        self._ingest_decodes = asyncio.Semaphore(ingest_decodes)

    def views_per_s(self, kind: Kind) -> float | None:
        """How many texts or picture views the device does in a second when it has enough; None while not measured."""
        return self._batcher.views_per_s(kind)

    async def embed_texts(self, texts: Sequence[str], lane: Lane) -> list[Embedded | TextRejected]:
        """One answer for each text, in order: its vector, or TextRejected (`empty_text`) where nothing is left of it.

        The error is returned, not raised: one blank row must not fail the others. Raises Overloaded, DeviceError.
        """
        with self._batcher.reserved(lane, len(texts)):
            prepared = await asyncio.to_thread(self._encoder.prepare_texts, texts)
        meaningful = [text for text in prepared if not text.blank]
        vectors = iter(await self._batcher.encode_texts(meaningful, lane))
        return [_blank() if text.blank else Embedded(next(vectors), text.truncated) for text in prepared]

    async def embed_picture(self, image: bytes, lane: Lane) -> Embedded:
        """Decode and encode the bytes of one picture. Raises PictureRejected, Overloaded, DeviceError."""
        with self._batcher.reserved(lane, _USUAL_VIEWS):
            if lane is Lane.INGEST:
                async with self._ingest_decodes:
                    picture = await self._decoders.decode(image)
            else:
                picture = await self._decoders.decode(image)
        return Embedded(await self._batcher.encode_picture(picture, lane), truncated=False)


def _blank() -> TextRejected:
    return TextRejected("empty_text", "Nothing of this text is left to embed: only blanks and punctuation.")
