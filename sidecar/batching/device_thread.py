"""The thread that calls the encoder; no other thread does. Its states are drawn in batcher.py."""

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
from sidecar.batching.micro_batch import EncodedBatch, FitAttempts, MicroBatch, SizeLimits
from sidecar.errors import DeviceError, DeviceLost
from sidecar.telemetry.traces import BatchedJob, MicroBatchReport


@dataclass(frozen=True, slots=True)
class FinishedBatch:
    """A micro-batch and its results. `did_not_fit`: how often memory ran out. Times are those of time.monotonic()."""

    batch: MicroBatch
    encoded: EncodedBatch
    did_not_fit: int
    began_s: float
    ended_s: float

    @property
    def duration_s(self) -> float:
        return self.ended_s - self.began_s

    @property
    def error_type(self) -> str | None:
        """Name of the class of the first error, if any."""
        errors = (result for _, result in self.encoded.slice_results if isinstance(result, DeviceError))
        return next((type(error).__name__ for error in errors), None)

    def report(self) -> MicroBatchReport:
        """For telemetry."""
        jobs = [
            BatchedJob(part.job.lane.value, len(part), self.began_s - part.job.enqueued_s, part.job.trace)
            for part in self.batch.slices
        ]
        kind = self.batch.kind.value
        items, invalid = self.encoded.items, self.encoded.invalid
        return MicroBatchReport(kind, items, self.duration_s, jobs, self.error_type, self.ended_s, invalid)


OnTaken: TypeAlias = Callable[[], object]
OnFinished: TypeAlias = Callable[[FinishedBatch], object]


class DeviceThread:
    """Takes micro-batches from `queues`, holding the lock of `changed`, and encodes them.

    Two callbacks run in the thread: `on_taken` when a micro-batch has left the queues, `on_finished` when it is done.
    Every call is reported to `health`; while that finds the device failing, a known input is tried every second.
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
        self._window = BatchWindow(settings.window_s)
        self._limits = SizeLimits(settings.max_views)
        self._health = health
        self._running: MicroBatch | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Read under the lock: once true, a job that is pushed is never taken."""
        return self._closed

    @property
    def running(self) -> MicroBatch | None:
        """The micro-batch on the device. Read under the lock."""
        return self._running

    def start(self, on_taken: OnTaken, on_finished: OnFinished) -> Future[None]:
        """Starts the thread. The future is done when it ends, with the exception that broke it, if any."""
        end: Future[None] = Future()
        end.set_running_or_notify_cancel()
        # A daemon: a device that hangs must not keep the process from ending.
        args = on_taken, on_finished, end
        threading.Thread(target=self._run, args=args, name="sidecar-device", daemon=True).start()
        return end

    def close(self) -> None:
        """Takes no more micro-batches; the running one is the last."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self, on_taken: OnTaken, on_finished: OnFinished, end: Future[None]) -> None:
        try:
            while (step := self._next_step()) is not None:
                if isinstance(step, Kind):
                    self._probe(step)
                    continue
                on_taken()
                finished = self._run_on_device(step)
                self._settle(finished)
                probe_needed = self._update_health(finished)  # first: callers may ask for readiness once answered
                on_finished(finished)
                if probe_needed:
                    self._probe(step.kind)
        except Exception as error:  # noqa: BLE001 - raised where the end is awaited
            end.set_exception(error)
        except BaseException as error:  # noqa: BLE001 - a panic of a library in Rust, or SystemExit: not the loop's
            broken = RuntimeError(f"The device thread was ended by {error!r}.")
            broken.__cause__ = error
            end.set_exception(broken)
        else:
            end.set_result(None)

    def _next_step(self) -> MicroBatch | Kind | None:
        """Waits for a micro-batch, or until the known input of a kind is to be tried; None once closed."""
        with self._changed:
            while not self._closed:
                if (kind := self._health.probe_due()) is not None:
                    return kind
                lane = self._queues.next_lane()
                if lane is not None and (wait_s := self._window.wait_s(lane, self._queues)) <= 0:
                    kind = self._queues[lane].next_job().kind
                    batch = self._queues.take(lane, self._limits.limit(kind, time.monotonic()))
                    self._window.record_dispatch(batch)
                    self._running = batch
                    return batch
                self._changed.wait(self._health.seconds_to_probe() if lane is None else wait_s)
            return None

    def _run_on_device(self, batch: MicroBatch) -> FinishedBatch:
        """Encodes a micro-batch, and records which sizes fitted into the device's memory. Blocks."""
        attempts = FitAttempts()
        began_s = time.monotonic()
        with self._health.call(f"a micro-batch of {len(batch)} ({batch.kind.value})"):
            encoded = batch.encode(self._encoder, attempts)
        ended_s = time.monotonic()
        self._limits.update(batch.kind, attempts, ended_s)
        return FinishedBatch(batch, encoded, len(attempts.failed), began_s, ended_s)

    def _settle(self, finished: FinishedBatch) -> None:
        """Updates the queues. Not left to the event loop: when it runs, the next micro-batch has been taken."""
        self._window.record_device_free()
        with self._changed:
            self._running = None
            self._queues.charge(finished.batch, finished.duration_s)
            for part, result in finished.encoded.slice_results:
                if isinstance(result, DeviceError):
                    self._queues.drop(part.job)

    def _update_health(self, finished: FinishedBatch) -> bool:
        """Whether a known input should be tried: several failures in a row may still be the fault of their inputs."""
        kind, fault = finished.batch.kind, finished.encoded.fault
        if fault is None:
            self._health.record_success(kind)
            return False
        if isinstance(fault, DeviceLost):
            self._health.record_loss(str(fault))
            return False
        return self._health.record_failure(kind)

    def _probe(self, kind: Kind) -> None:
        try:
            with self._health.call(f"a known input ({kind.value})"):
                run_probe(self._encoder, kind)
        except DeviceError as error:
            self._health.record_probe_failure(kind, str(error))
        else:
            self._health.record_success(kind)


class BatchWindow:
    """How long a free device waits for queries that are about to come: GATHERING in batcher.py."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._answered = dict.fromkeys(Kind, 0)  # jobs of queries that the last micro-batch led by queries completed
        self._device_free_since = 0.0

    def record_dispatch(self, batch: MicroBatch) -> None:
        if batch.leader is Lane.QUERY:
            ended = (part for part in batch.slices if part.ends_job and part.job.lane is Lane.QUERY)
            self._answered[batch.kind] = sum(1 for _ in ended)

    def record_device_free(self) -> None:
        self._device_free_since = time.monotonic()

    def wait_s(self, lane: Lane, queues: LaneQueues) -> float:
        """How much longer the items of a lane may wait for more; 0 or less: dispatch them now."""
        if lane is not Lane.QUERY or queues.others_wait(lane):
            return 0.0
        queue = queues[lane]
        kind = queue.next_job().kind
        if len(queue.kinds()) > 1 or queue.jobs_of(kind) >= self._answered[kind]:
            return 0.0
        return self._device_free_since + self._window_s - time.monotonic()
