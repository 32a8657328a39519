"""The thread that calls the encoder, and nobody else does. Its states are drawn in batcher.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeAlias

from sidecar.batching.encoder import Encoder
from sidecar.batching.gathering import Gathering
from sidecar.batching.lane_queues import BatchSettings, LaneQueues
from sidecar.batching.micro_batch import MicroBatch, Outcome
from sidecar.batching.size_limits import SizeLimits, Tries
from sidecar.errors import DeviceError
from sidecar.telemetry.telemetry import Carried, MicroBatchReport


@dataclass(frozen=True, slots=True)
class Done:
    """A micro-batch that ended. `encoded_units`: without duplicates; `did_not_fit`: how often memory ran out.

    Times are those of time.monotonic().
    """

    batch: MicroBatch
    outcomes: Sequence[Outcome]
    encoded_units: int
    did_not_fit: int
    began_s: float
    ended_s: float

    @property
    def duration_s(self) -> float:
        return self.ended_s - self.began_s

    @property
    def error(self) -> str | None:
        """The class of the first error, if there was one."""
        errors = (result for _, result in self.outcomes if isinstance(result, DeviceError))
        return next((type(error).__name__ for error in errors), None)

    def report(self) -> MicroBatchReport:
        """What telemetry is told."""
        carried = [
            Carried(part.job.lane.value, len(part), self.began_s - part.job.entered_s, part.job.trace)
            for part in self.batch.parts
        ]
        kind = self.batch.kind.value
        return MicroBatchReport(kind, self.encoded_units, self.duration_s, carried, self.error, self.ended_s)


OnTaken: TypeAlias = Callable[[], object]
OnDone: TypeAlias = Callable[[Done], object]


class DeviceThread:
    """Takes micro-batches from `queues`, under `changed`, whose lock guards them.

    Two functions are called in the thread: `on_taken` when a micro-batch has left the queues, `on_done` when it ended.
    """

    def __init__(
        self, encoder: Encoder, queues: LaneQueues, changed: threading.Condition, settings: BatchSettings
    ) -> None:
        self._encoder = encoder
        self._queues = queues
        self._changed = changed
        self._gathering = Gathering(settings.window_s)
        self._limits = SizeLimits(settings.max_views)
        self._running: MicroBatch | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Asked under the lock: once true, what is pushed is never taken."""
        return self._closed

    @property
    def running(self) -> MicroBatch | None:
        """What is on the device. Asked under the lock."""
        return self._running

    def start(self, on_taken: OnTaken, on_done: OnDone) -> Future[None]:
        """Returns the future end of the thread, and what broke it, if anything did."""
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
                done = self._encode(batch)
                self._settle(done)
                on_done(done)
        except Exception as error:  # noqa: BLE001 - whoever waits for the end gets it
            end.set_exception(error)
        except BaseException as error:  # noqa: BLE001 - a panic of a library in Rust, or SystemExit: not the loop's
            broken = RuntimeError(f"The device thread was ended by {error!r}.")
            broken.__cause__ = error
            end.set_exception(broken)
        else:
            end.set_result(None)

    def _next_batch(self) -> MicroBatch | None:
        """Waits for work; None once closed."""
        with self._changed:
            while not self._closed:
                lane = self._queues.next_lane()
                if lane is not None and (pause_s := self._gathering.pause_s(lane, self._queues)) <= 0:
                    kind = self._queues[lane].next_job().kind
                    batch = self._queues.take(lane, self._limits.limit(kind, time.monotonic()))
                    self._gathering.dispatched(batch)
                    self._running = batch
                    return batch
                self._changed.wait(None if lane is None else pause_s)
            return None

    def _encode(self, batch: MicroBatch) -> Done:
        tries = Tries()
        began_s = time.monotonic()
        outcomes, encoded_units = batch.encode(self._encoder, tries)
        ended_s = time.monotonic()
        self._limits.learn(batch.kind, tries, ended_s)
        return Done(batch, outcomes, encoded_units, len(tries.failed), began_s, ended_s)

    def _settle(self, done: Done) -> None:
        """At once: by the time the callers hear of it, the next micro-batch has been taken."""
        self._gathering.device_is_free()
        with self._changed:
            self._running = None
            self._queues.settle(done.batch, done.duration_s)
            for part, result in done.outcomes:
                if isinstance(result, DeviceError):
                    self._queues.drop(part.job)
