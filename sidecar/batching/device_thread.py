"""The thread that calls the encoder, and nobody else does. Its states are drawn in batcher.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeAlias

from sidecar.batching.encoder import Encoder
from sidecar.batching.gathering import Gathering
from sidecar.batching.lane_queues import LaneQueues
from sidecar.batching.micro_batch import MicroBatch, Outcome
from sidecar.errors import DeviceError

OnTaken: TypeAlias = Callable[[], object]
OnDone: TypeAlias = Callable[[Sequence[Outcome], float], object]


class DeviceThread:
    """Takes micro-batches from `queues`, under `changed`, whose lock guards them."""

    def __init__(self, encoder: Encoder, queues: LaneQueues, changed: threading.Condition, window_s: float) -> None:
        self._encoder = encoder
        self._queues = queues
        self._changed = changed
        self._gathering = Gathering(window_s)
        self._closed = False

    @property
    def closed(self) -> bool:
        """Asked under the lock: once true, what is pushed is never taken."""
        return self._closed

    def start(self, on_taken: OnTaken, on_done: OnDone) -> Future[None]:
        """Returns the future end of the thread, and what broke it, if anything did.

        Both are called in the thread, for each micro-batch: `on_taken` when it has left the queues, `on_done` with its
        outcomes and how many seconds it took.
        """
        end: Future[None] = Future()
        end.set_running_or_notify_cancel()
        # A daemon: a device that hangs must not keep the process from ending.
        threading.Thread(target=self._run, args=(on_taken, on_done, end), name="sidecar-device", daemon=True).start()
        return end

    def close(self) -> None:
        """The running micro-batch is the last one."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self, on_taken: OnTaken, on_done: OnDone, end: Future[None]) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                on_taken()
                started = time.monotonic()
                outcomes = batch.encode(self._encoder)
                self._gathering.device_is_free()
                self._drop_failed(outcomes)
                on_done(outcomes, time.monotonic() - started)
        except Exception as error:  # noqa: BLE001 - whoever waits for the end gets it
            end.set_exception(error)
        else:
            end.set_result(None)

    def _next_batch(self) -> MicroBatch | None:
        """Waits for work; None once closed."""
        with self._changed:
            while not self._closed:
                lane = self._queues.next_lane()
                if lane is not None and (pause_s := self._gathering.pause_s(lane, self._queues)) <= 0:
                    batch = self._queues.take(lane)
                    self._gathering.dispatched(lane, batch)
                    return batch
                self._changed.wait(None if lane is None else pause_s)
            return None

    def _drop_failed(self, outcomes: Sequence[Outcome]) -> None:
        """At once: by the time the callers hear of it, more of their units would be on the device."""
        with self._changed:
            for part, result in outcomes:
                if isinstance(result, DeviceError):
                    self._queues.drop(part.job)
