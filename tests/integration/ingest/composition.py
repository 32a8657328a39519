"""Ingest in this process, composed as in sidecar/app.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from sidecar.batching.batcher import Batcher
from sidecar.batching.device_health import HealthLimits
from sidecar.batching.devices import Devices
from sidecar.batching.embedder import Embedder
from sidecar.batching.encoder import Encoder, framing_of
from sidecar.batching.lanes import BatchSettings
from sidecar.concurrency import running_tasks
from sidecar.config import Settings
from sidecar.ingest.ingest import Ingest
from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.pictures.decoder.settings import DecoderSettings

DIMENSIONS = 16


@dataclass(slots=True)
class RunningIngest:
    """`task` runs `ingest.run()`, `device` the batcher."""

    ingest: Ingest
    task: asyncio.Task[None]
    device: asyncio.Task[None]
    decoders: DecoderPool
    crashed: bool = False

    async def stop(self) -> None:
        """Stops as after SIGTERM."""
        self.ingest.request_stop()
        await asyncio.wait_for(asyncio.shield(self.task), timeout=20)

    def works_on(self, watch_id: int) -> bool:
        """Whether the watch is claimable for this sidecar."""
        return watch_id in {watch.id for watch in self.ingest._context.catalogue.claimable()}

    async def crash(self) -> None:
        """Ends as by kill -9: events in flight stay leased."""
        pool = self.ingest._database._pool
        if pool is not None:
            pool.terminate()
        self.crashed = True
        self.task.cancel()
        await asyncio.wait([self.task])


@asynccontextmanager
async def running_ingest(
    database_url: str, encoder: Encoder, *, pictures: bool = False, **settings: Any
) -> AsyncIterator[RunningIngest]:
    """Runs ingest for the length of the block, unless the block stops it. Raises the error of an unexpected end."""
    settings = {"poll_interval_s": 0.2, "enable_tta": False, "decode_processes": 2, **settings}
    configured = Settings(database_url=SecretStr(database_url), **settings)
    decoders = DecoderPool(DecoderSettings.from_settings(configured, encoder.view_size, framing_of(encoder)))
    if pictures:
        await decoders.start()
    devices = Devices([encoder], HealthLimits(recovery_s=600))  # tests replace the orchestrator
    batcher = Batcher(devices, BatchSettings.from_settings(configured))
    embedder = Embedder(encoder, batcher, decoders, ingest_decodes=configured.decode_processes)
    ingest = Ingest(configured, embedder, encoder)
    try:
        async with running_tasks({"batcher": batcher.run(), "ingest": ingest.run()}) as (device, task):
            running = RunningIngest(ingest, task, device, decoders)
            try:
                yield running
                if not running.crashed:
                    await running.stop()
            except BaseException as error:
                died = task.done() and not running.crashed and not task.cancelled()
                if died and (cause := task.exception()) is not None:
                    raise cause from error  # the test failed because ingest had died
                raise
    finally:
        await decoders.close()
