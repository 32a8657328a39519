"""An encoder whose micro-batches a test sees, and finishes one by one."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import PairScale, PreparedText
from sidecar.pictures.picture import DecodedPicture

DIMENSIONS = 300
PATIENCE_S = 60.0
MAX_DEVICES = 8  # calls that may be blocked at a time
PROBE_LABEL = 0  # of the known inputs that the batcher tries on a failing device

MicroBatchShown: TypeAlias = tuple[str, list[int]]  # "texts", "views" or "pairs", and the labels of the items


def labelled_text(label: int) -> PreparedText:
    return PreparedText(np.full(4, label, np.int64), truncated=False, blank=False)


def labelled_picture(*labels: int, weights: Sequence[float] | None = None) -> DecodedPicture:
    views = np.zeros((len(labels), 2, 2, 3), np.uint8)
    views[:] = np.array(labels, np.uint8)[:, None, None, None]
    shares = np.ones(len(labels)) if weights is None else np.array(weights)
    return DecodedPicture(views, (shares / shares.sum()).astype(np.float32))


def vector_of(label: int) -> NDArray[np.float32]:
    """(DIMENSIONS,) float32, unit length; equal for equal labels."""
    vector = np.random.default_rng(label).standard_normal(DIMENSIONS)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class GatedEncoder:
    """An Encoder each of whose calls blocks until `release`, or for none after `release_all`.

    `fault` returns what the device raises for the labels of a micro-batch, or None.
    """

    model_id = "gated"
    fingerprint = "gated"
    dimensions = DIMENSIONS
    view_size = 2
    pair_scale: PairScale | None = None

    def __init__(self, fault: Callable[[list[int]], BaseException | None] = lambda _labels: None) -> None:
        self.seen: list[MicroBatchShown] = []
        self._fault = fault
        self._calls: queue.Queue[MicroBatchShown] = queue.Queue()
        self._permits = threading.Semaphore(0)
        self._open = threading.Event()

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        return [labelled_text(int(text) if text.isdigit() else PROBE_LABEL) for text in texts]

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        return self._encode("texts", [int(text.token_ids[0]) for text in texts])

    def encode_views(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._encode("views", [int(view[0, 0, 0]) for view in views])

    async def next_call(self) -> MicroBatchShown:
        """Wait for the next micro-batch to reach the device."""
        return await asyncio.to_thread(self._calls.get, timeout=PATIENCE_S)

    def release(self) -> None:
        """Let the oldest blocked call end, or the next one if none is blocked."""
        self._permits.release()

    def release_all(self) -> None:
        """Let all calls end from now on."""
        self._open.set()
        self._permits.release(MAX_DEVICES)

    def run_micro_batch(self, kind: str, labels: list[int]) -> None:
        """Record a micro-batch, and block as it would on a device."""
        self.seen.append((kind, labels))
        self._calls.put((kind, labels))
        if not self._open.is_set():
            assert self._permits.acquire(timeout=PATIENCE_S), "the test never released this micro-batch"
        if fault := self._fault(labels):
            raise fault

    def _encode(self, kind: str, labels: list[int]) -> NDArray[np.float32]:
        self.run_micro_batch(kind, labels)
        return np.stack([vector_of(label) for label in labels])
