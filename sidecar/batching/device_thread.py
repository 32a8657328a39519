"""The thread that calls the encoder, and nobody else does. Its states are drawn in batcher.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeAlias

from sidecar.batching.device_health import DeviceHealth, run_probe
from sidecar.batching.encoder import Encoder
from sidecar.batching.inputs import Kind
from sidecar.batching.job import Lane
from sidecar.batching.lanes import BatchSettings, LaneQueues
from sidecar.batching.micro_batch import EncodedBatch, MicroBatch, SizeLimits, Tries
from sidecar.errors import DeviceError, DeviceLost
from sidecar.telemetry.traces import BatchedJob, MicroBatchReport


@dataclass(frozen=True, slots=True)
class Done:
    """A micro-batch that ended; `did_not_fit`: how often memory ran out. Times are those of time.monotonic()."""

    batch: MicroBatch
    encoded: EncodedBatch
    did_not_fit: int
    began_s: float
    ended_s: float

    @property
    def duration_s(self) -> float:
        return self.ended_s - self.began_s

    @property
    def error(self) -> str | None:
        """The class of the first error, if there was one."""
        errors = (result for _, result in self.encoded.outcomes if isinstance(result, DeviceError))
        return next((type(error).__name__ for error in errors), None)

    def report(self) -> MicroBatchReport:
        """What telemetry is told."""
        carried = [
            BatchedJob(part.job.lane.value, len(part), self.began_s - part.job.entered_s, part.job.trace)
            for part in self.batch.parts
        ]
        kind = self.batch.kind.value
        units, without_result = self.encoded.units, self.encoded.without_result
        return MicroBatchReport(kind, units, self.duration_s, carried, self.error, self.ended_s, without_result)


OnTaken: TypeAlias = Callable[[], object]
OnDone: TypeAlias = Callable[[Done], object]


class DeviceThread:
    """Takes micro-batches from `queues`, under `changed`, whose lock guards them.

    Two functions are called in the thread: `on_taken` when a micro-batch has left the queues, `on_done` when it ended.
    `health` hears of every call. While it finds that the device fails, a known input is tried every second.
    """

    def __init__(
        self,
        encoder: Encoder,
        queues: LaneQueues,
        changed: threading.Condition,
        settings: BatchSettings,
        health: DeviceHealth,
    ) -> None:
        self._encoder = encoder
        self._queues = queues
        self._changed = changed
        self._gathering = Gathering(settings.window_s)
        self._limits = SizeLimits(settings.max_views)
        self._health = health
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
            while (step := self._next_step()) is not None:
                if isinstance(step, Kind):
                    self._probe(step)
                    continue
                on_taken()
                done = self._encode(step)
                self._settle(done)
                is_suspicious = self._examine(done)  # before the callers hear of it: they may ask whether it is ready
                on_done(done)
                if is_suspicious:
                    self._probe(step.kind)
        except Exception as error:  # noqa: BLE001 - whoever waits for the end gets it
            end.set_exception(error)
        except BaseException as error:  # noqa: BLE001 - a panic of a library in Rust, or SystemExit: not the loop's
            broken = RuntimeError(f"The device thread was ended by {error!r}.")
            broken.__cause__ = error
            end.set_exception(broken)
        else:
            end.set_result(None)

    def _next_step(self) -> MicroBatch | Kind | None:
        """Waits for a micro-batch, or for the time to try the known input of a kind; None once closed."""
        with self._changed:
            while not self._closed:
                if (kind := self._health.probe_due()) is not None:
                    return kind
                lane = self._queues.next_lane()
                if lane is not None and (pause_s := self._gathering.pause_s(lane, self._queues)) <= 0:
                    kind = self._queues[lane].next_job().kind
                    batch = self._queues.take(lane, self._limits.limit(kind, time.monotonic()))
                    self._gathering.dispatched(batch)
                    self._running = batch
                    return batch
                self._changed.wait(self._health.probe_in_s() if lane is None else pause_s)
            return None

    def _encode(self, batch: MicroBatch) -> Done:
        tries = Tries()
        began_s = time.monotonic()
        with self._health.call(f"a micro-batch of {len(batch)} ({batch.kind.value})"):
            encoded = batch.encode(self._encoder, tries)
        ended_s = time.monotonic()
        self._limits.learn(batch.kind, tries, ended_s)
        return Done(batch, encoded, len(tries.failed), began_s, ended_s)

    def _settle(self, done: Done) -> None:
        """At once: by the time the callers hear of it, the next micro-batch has been taken."""
        self._gathering.device_is_free()
        with self._changed:
            self._running = None
            self._queues.settle(done.batch, done.duration_s)
            for part, result in done.encoded.outcomes:
                if isinstance(result, DeviceError):
                    self._queues.drop(part.job)

    def _examine(self, done: Done) -> bool:
        """Whether a known input should be tried: several failures in a row may still be their inputs' fault."""
        kind, fault = done.batch.kind, done.encoded.fault
        if fault is None:
            self._health.succeeded(kind)
            return False
        if isinstance(fault, DeviceLost):
            self._health.lost(str(fault))
            return False
        return self._health.failed(kind)

    def _probe(self, kind: Kind) -> None:
        try:
            with self._health.call(f"a known input ({kind.value})"):
                run_probe(self._encoder, kind)
        except DeviceError as error:
            self._health.probe_failed(kind, str(error))
        else:
            self._health.succeeded(kind)


class Gathering:
    """See GATHERING in batcher.py. Used by the device thread only."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._answered = dict.fromkeys(Kind, 0)  # callers, in the last micro-batch that queries led
        self._device_free_since = 0.0

    def dispatched(self, batch: MicroBatch) -> None:
        if batch.leader is Lane.QUERY:
            ended = (part for part in batch.parts if part.ends_job and part.job.lane is Lane.QUERY)
            self._answered[batch.kind] = sum(1 for _ in ended)

    def device_is_free(self) -> None:
        self._device_free_since = time.monotonic()

    def pause_s(self, lane: Lane, queues: LaneQueues) -> float:
        """How much longer the work of a lane may wait for more; 0 or less: dispatch it now."""
        if lane is not Lane.QUERY or queues.others_wait(lane):
            return 0.0
        queue = queues[lane]
        kind = queue.next_job().kind
        if len(queue.kinds()) > 1 or queue.jobs_of(kind) >= self._answered[kind]:
            return 0.0
        return self._device_free_since + self._window_s - time.monotonic()
