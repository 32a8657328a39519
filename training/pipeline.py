"""The product's pipeline from pictures and texts to vectors, without server and database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.batcher import Batcher
from sidecar.batching.devices import Devices
from sidecar.batching.embedder import Embedded, Embedder
from sidecar.batching.job import Lane
from sidecar.batching.lanes import BatchSettings
from sidecar.concurrency import background
from sidecar.config import Settings
from sidecar.model.checkpoints.local_directory import LOCAL_PREFIX
from sidecar.model.loading import load_encoder
from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.pictures.decoder.settings import DecoderSettings

_AT_ONCE = 64

Vectors = NDArray[np.float32]


@asynccontextmanager
async def open_pipeline(model: Path, views: Mapping[str, Any]) -> AsyncIterator[Embedder]:
    """Loads the model in folder `model` with default settings, except those in `views`; the CPU is allowed."""
    settings = Settings(vision_model_id=f"{LOCAL_PREFIX}{model}", require_cuda=False, **views)
    encoder = load_encoder(settings)
    decoders = DecoderPool(DecoderSettings.from_settings(settings, encoder.view_size))
    await decoders.start()
    batcher = Batcher(Devices([encoder]), BatchSettings.from_settings(settings))
    try:
        async with background(batcher.run(), "batcher"):
            yield Embedder(encoder, batcher, decoders, ingest_decodes=settings.decode_processes)
    finally:
        await decoders.close()


async def embed_pictures(embedder: Embedder, pictures: Sequence[bytes]) -> Vectors:
    """(n, dimensions) float32, unit length."""
    embedded: list[Embedded] = []
    for start in range(0, len(pictures), _AT_ONCE):
        part = pictures[start : start + _AT_ONCE]
        embedded += await asyncio.gather(*(embedder.embed_picture(picture, Lane.INGEST) for picture in part))
    return np.stack([one.vector for one in embedded])


async def embed_texts(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """(n, dimensions) float32, unit length. Raises TextRejected if one is blank."""
    embedded = []
    for start in range(0, len(texts), _AT_ONCE):
        for answer in await embedder.embed_texts(texts[start : start + _AT_ONCE], Lane.INGEST):
            if not isinstance(answer, Embedded):
                raise answer
            embedded.append(answer.vector)
    return np.stack(embedded)
