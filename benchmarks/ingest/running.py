"""An ingest that runs in this process, composed as in sidecar/app.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from sidecar.batching.batcher import Batcher
from sidecar.batching.devices import Devices
from sidecar.batching.embedder import Embedder
from sidecar.batching.encoder import Encoder, framing_of
from sidecar.batching.lanes import BatchSettings
from sidecar.concurrency import background
from sidecar.config import Settings
from sidecar.ingest.ingest import Ingest
from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.pictures.decoder.settings import DecoderSettings


@asynccontextmanager
async def running_ingest(url: str, encoder: Encoder) -> AsyncIterator[Embedder]:
    """Run an ingest with default settings, and yield its embedder.

    If the ingest fails, its error is raised at the end of the block.
    """
    settings = Settings(database_url=SecretStr(url))
    decoders = DecoderPool(DecoderSettings.from_settings(settings, encoder.view_size, framing_of(encoder)))
    batcher = Batcher(Devices([encoder]), BatchSettings.from_settings(settings))
    await decoders.start()
    embedder = Embedder(encoder, batcher, decoders, ingest_decodes=settings.decode_processes)
    ingest = Ingest(settings, embedder, encoder)
    try:
        async with background(batcher.run(), "device"):
            task = asyncio.create_task(ingest.run(), name="ingest")
            try:
                yield embedder
            finally:
                ingest.request_stop()
                await task
    finally:
        await decoders.close()
