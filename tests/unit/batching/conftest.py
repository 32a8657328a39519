"""A running batcher over a gated encoder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import TypeAlias

import pytest

from sidecar.batching.batcher import Batcher
from sidecar.batching.devices import Devices
from sidecar.batching.lanes import BatchSettings
from sidecar.concurrency import background
from tests.unit.batching.gated_encoder import GatedEncoder

SETTINGS = BatchSettings(max_views=8, window_s=0.0, query_queue_views=64, ingest_queue_views=64, ingest_min_share=0.1)

RunningBatcher: TypeAlias = Callable[..., AbstractAsyncContextManager[Batcher]]


@asynccontextmanager
async def batcher_over(encoder: GatedEncoder, **changes: float) -> AsyncIterator[Batcher]:
    """A running batcher with SETTINGS, except for `changes`."""
    batcher = Batcher(Devices([encoder]), replace(SETTINGS, **changes))  # type: ignore[arg-type]  # counts and seconds
    async with background(batcher.run(), "batcher"):
        try:
            yield batcher
        finally:
            encoder.release_all()


@pytest.fixture
def running_batcher() -> RunningBatcher:
    """`async with running_batcher(encoder, max_views=…) as batcher`: the settings named are changed."""
    return batcher_over
