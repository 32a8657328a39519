"""The thread of a device: it alone calls the device's encoder. Its states are drawn in batcher.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from sidecar.batching.device_health import run_probe
from sidecar.batching.devices import Device, Devices
from sidecar.batching.inputs import Kind
from sidecar.batching.job import Lane
from sidecar.batching.lanes import BatchSettings, LaneQueues
from sidecar.batching.micro_batch import EncodedBatch, FitAttempts, MicroBatch, Rows, SizeLimits, SliceResult
from sidecar.errors import DeviceError, DeviceLost
from sidecar.telemetry.traces import BatchedJob, MicroBatchReport


@dataclass(frozen=True, slots=True)
class FinishedBatch:
    """A micro-batch and its results. `did_not_fit`: how often memory ran out. Times are those of time.monotonic().

    `answers`: the results of all slices but those that another device tries again.
    """

    device: Device
    batch: MicroBatch
    encoded: EncodedBatch
    did_not_fit: int
    began_s: float
    ended_s: float
    answers: Sequence[SliceResult] = ()

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
        return MicroBatchReport(
            *(kind, items, self.duration_s, jobs, self.error_type, self.ended_s, invalid),
            device=self.device.name,
            retried=len(self.batch.slices) - len(self.answers),
        )


OnTaken: TypeAlias = Callable[[], object]
OnFinished: TypeAlias = Callable[[FinishedBatch], object]

_LEAST_SPLIT_ITEMS = 8  # of a micro-batch that leaves items to idle devices


class DeviceThread:
    """Takes micro-batches from `queues`, holding the lock of `changed`, and encodes them on its device.

    Two callbacks run in the thread: `on_taken` when a micro-batch has left the queues, `on_finished` when it is done.
    Every call is reported to the device's health; while that finds the device failing, a known input is tried every
    second, and nothing is taken as long as another device works.
    """

    def __init__(
        self,
        device: Device,
        devices: Devices,
        queues: LaneQueues,
        changed: threading.Condition,
        settings: BatchSettings,
    ) -> None:
        self.device = device
        self._devices = devices
        self._encoder = device.encoder
        self._queues = queues
        self._changed = changed
        self._window = BatchWindow(settings.window_s)
        self._limits = SizeLimits(settings.max_views)
        self._health = device.health
        self._running: MicroBatch | None = None
        self._running_since_s = 0.0
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
        name = "sidecar-device" if len(self._devices) == 1 else f"sidecar-device-{self.device.number}"
        threading.Thread(target=self._run, args=args, name=name, daemon=True).start()
        return end

    def close(self) -> None:
        """Takes no more micro-batches; the running one is the last."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> FinishedBatch | None:
        """Takes a micro-batch from a device that hangs, if another device works; its results will be ignored.

        Returns what fails with it, which another device has had before; the rest is retried there.
        """
        fault = DeviceError(f"{self.device.name} hangs.")
        with self._changed:
            batch = self._running
            if batch is None or not self._devices.other_works(self.device):
                return None
            now = time.monotonic()
            encoded = EncodedBatch([(part, fault) for part in batch.slices], len(batch), fault=fault)
            finished = FinishedBatch(self.device, batch, encoded, 0, self._running_since_s, now)
            return self._settle(finished)

    def _run(self, on_taken: OnTaken, on_finished: OnFinished, end: Future[None]) -> None:
        try:
            while (step := self._next_step()) is not None:
                if isinstance(step, Kind):
                    self._probe(step)
                    continue
                on_taken()
                finished = self._settle(self._run_on_device(step))
                if finished is None:  # abandoned
                    continue
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
                wait_s = self._health.seconds_to_probe()
                if self._devices.may_take(self.device):
                    if (batch := self._queues.take_retry(self._may_retry)) is not None:
                        return self._dispatch(batch)
                    lane = self._queues.next_lane()
                    if lane is not None:
                        gather_s = self._window.wait_s(lane, self._queues)
                        if gather_s <= 0:
                            return self._dispatch(self._take(lane))
                        wait_s = gather_s if wait_s is None else min(gather_s, wait_s)
                        self._changed.wait(wait_s)
                        continue
                    with self._queues.idle():
                        self._changed.wait(wait_s)
                else:
                    self._changed.wait(wait_s)
            return None

    def _may_retry(self, failed_on: int) -> bool:
        """Whether a slice that failed on the device of that number is this device's to retry."""
        return failed_on != self.device.number or not self._devices.other_works(self.device)

    def _take(self, lane: Lane) -> MicroBatch:
        kind = self._queues[lane].next_job().kind
        limit = self._limits.limit(kind, time.monotonic())
        if kind is not Kind.PAIR and self._queues.idle_devices:  # pairs differ in weight
            share = -(-self._queues.items_of(kind) // (1 + self._queues.idle_devices))
            limit = min(limit, max(share, _LEAST_SPLIT_ITEMS))
        batch = self._queues.take(lane, limit)
        self._window.record_dispatch(batch)
        return batch

    def _dispatch(self, batch: MicroBatch) -> MicroBatch:
        self._running = batch
        self._running_since_s = time.monotonic()
        return batch

    def _run_on_device(self, batch: MicroBatch) -> FinishedBatch:
        """Encodes a micro-batch, and records which sizes fitted into the device's memory. Blocks."""
        attempts = FitAttempts()
        began_s = time.monotonic()
        with self._health.call(f"a micro-batch of {len(batch)} ({batch.kind.value})"):
            encoded = batch.encode(self._encoder, attempts)
        ended_s = time.monotonic()
        self._limits.update(batch.kind, attempts, ended_s)
        return FinishedBatch(self.device, batch, encoded, len(attempts.failed), began_s, ended_s)

    def _settle(self, finished: FinishedBatch) -> FinishedBatch | None:
        """Updates the queues; has other devices retry what failed. None if the micro-batch has been abandoned.

        Not left to the event loop: when that runs, the next micro-batch has been taken.
        """
        with self._changed:
            if self._running is not finished.batch:
                return None
            self._running = None
            self._window.record_device_free(self._queues)
            self._queues.charge(finished.batch, finished.duration_s)
            answers: list[SliceResult] = []
            may_retry = not finished.batch.is_retry and self._devices.other_works(self.device)
            for part, result in finished.encoded.slice_results:
                failed = isinstance(result, DeviceError)
                if may_retry and _is_incomplete(result) and not part.job.dropped:
                    self._queues.retry(part, self.device.number)
                    continue
                answers.append((part, result))
                if failed:
                    self._queues.drop(part.job)
            if len(answers) < len(finished.encoded.slice_results):
                self._changed.notify_all()
            return replace(finished, answers=answers)

    def _update_health(self, finished: FinishedBatch) -> bool:
        """Whether a known input should be tried: several failures in a row may still be the fault of their inputs."""
        kind, fault = finished.batch.kind, finished.encoded.fault
        if fault is None:
            self._health.record_success(kind)
            return False
        if isinstance(fault, DeviceLost):
            self._health.record_loss(str(fault))
            self._notify_others()
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
        self._notify_others()

    def _notify_others(self) -> None:
        """Has the other devices check again what they may take, which depends on which of them work."""
        with self._changed:
            self._changed.notify_all()


def _is_incomplete(result: Rows | DeviceError) -> bool:
    """Whether another device may do better: a device that computes nothing but NaN must not reject inputs for good."""
    return isinstance(result, DeviceError) or bool(np.isnan(result).any())


class BatchWindow:
    """How long a free device waits for queries that are about to come: GATHERING in batcher.py."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._answered = dict.fromkeys(Kind, 0)  # jobs of queries that the last micro-batch led by queries completed
        self._begun = dict.fromkeys(Kind, 0)  # jobs of queries begun on any device, when this one came free
        self._device_free_since = 0.0

    def record_dispatch(self, batch: MicroBatch) -> None:
        if batch.leader is Lane.QUERY:
            ended = (part for part in batch.slices if part.ends_job and part.job.lane is Lane.QUERY)
            self._answered[batch.kind] = sum(1 for _ in ended)

    def record_device_free(self, queues: LaneQueues) -> None:
        self._device_free_since = time.monotonic()
        self._begun = {kind: queues[Lane.QUERY].jobs_begun(kind) for kind in Kind}

    def wait_s(self, lane: Lane, queues: LaneQueues) -> float:
        """How much longer the items of a lane may wait for more; 0 or less: dispatch them now."""
        if lane is not Lane.QUERY or queues.others_wait(lane):
            return 0.0
        queue = queues[lane]
        kind = queue.next_job().kind
        taken_by_others = queue.jobs_begun(kind) - self._begun[kind]  # since then
        if len(queue.kinds()) > 1 or queue.jobs_of(kind) + taken_by_others >= self._answered[kind]:
            return 0.0
        return self._device_free_since + self._window_s - time.monotonic()
