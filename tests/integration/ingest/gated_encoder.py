"""A HashEncoder that a test can block, and that counts its inputs."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedText
from tests.encoders import HashEncoder
from tests.integration.ingest.composition import DIMENSIONS
from tests.waiting import wait_until_async

PATIENCE_S = 30.0


class GatedEncoder(HashEncoder):
    """Calls block on the device thread from `close` until `open`. `texts` counts the prepared texts."""

    def __init__(self, model_id: str = "hash", *, dimensions: int = DIMENSIONS) -> None:
        super().__init__(model_id, dimensions=dimensions)
        self.texts: Counter[str] = Counter()
        self.views = 0
        self.held = 0
        self._is_open = threading.Event()
        self._is_open.set()

    def close(self) -> None:
        self._is_open.clear()

    def open(self) -> None:
        self._is_open.set()

    async def until_held(self) -> None:
        """Waits until a call is blocked."""

        async def holds() -> bool:
            return self.held > 0

        await wait_until_async(holds, "a call to reach the device")

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        self.texts.update(texts)
        return super().prepare_texts(texts)

    def encode_views(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.views += len(views)
        return super().encode_views(views)

    def _encode(self, contents: Iterable[bytes]) -> NDArray[np.float32]:
        self.held += 1
        assert self._is_open.wait(PATIENCE_S), "the test never opened the gate"
        self.held -= 1
        return super()._encode(contents)


async def next_turn() -> None:
    """Lets other tasks run once."""
    await asyncio.sleep(0)
