"""An encoder that shows each micro-batch to the test, and ends it when the test says so."""

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
PATIENCE_S = 10.0
PROBE_LABEL = 0  # of the known inputs by which the batcher tells a device that fails from an input that does

MicroBatchShown: TypeAlias = tuple[str, list[int]]  # "texts", "views" or "pairs", and the labels of the units


def labelled_text(label: int) -> PreparedText:
    return PreparedText(np.full(4, label, np.int64), truncated=False, blank=False)


def labelled_picture(*labels: int, weights: Sequence[float] | None = None) -> DecodedPicture:
    views = np.zeros((len(labels), 2, 2, 3), np.uint8)
    views[:] = np.array(labels, np.uint8)[:, None, None, None]
    shares = np.ones(len(labels)) if weights is None else np.array(weights)
    return DecodedPicture(views, (shares / shares.sum()).astype(np.float32))


def vector_of(label: int) -> NDArray[np.float32]:
    """(DIMENSIONS,) float32, unit length, the same for the same label."""
    vector = np.random.default_rng(label).standard_normal(DIMENSIONS)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class GatedEncoder:
    """Satisfies Encoder. Every call waits for `let_go`, unless `open` was called.

    `fault` looks at the labels of a micro-batch and returns what the device raises, or None.
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
        """The next micro-batch that reaches the device."""
        return await asyncio.to_thread(self._calls.get, timeout=PATIENCE_S)

    def let_go(self) -> None:
        """The oldest call that waits, or else the next, ends."""
        self._permits.release()

    def open(self) -> None:
        """No call waits any more."""
        self._open.set()
        self._permits.release()

    def go_through(self, kind: str, labels: list[int]) -> None:
        """Be a micro-batch on the device."""
        self.seen.append((kind, labels))
        self._calls.put((kind, labels))
        if not self._open.is_set():
            assert self._permits.acquire(timeout=PATIENCE_S), "the test never let this micro-batch go"
        if fault := self._fault(labels):
            raise fault

    def _encode(self, kind: str, labels: list[int]) -> NDArray[np.float32]:
        self.go_through(kind, labels)
        return np.stack([vector_of(label) for label in labels])
