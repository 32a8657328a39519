"""The whole batcher, driven at random: callers that are cancelled or time out, devices that fail."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray

from sidecar.batching.batcher import Batcher
from sidecar.batching.devices import Devices
from sidecar.batching.job import ROWS, Lane
from sidecar.batching.lanes import BatchSettings
from sidecar.errors import DeviceError, DeviceOutOfMemory, Overloaded
from tests.unit.batching.gated_encoder import PROBE_LABEL, GatedEncoder, labelled_picture, labelled_text, vector_of
from tests.unit.batching.gated_scorer import GatedScorer, score_of
from tests.unit.batching.jobs import labelled_pair
from tests.unit.batching.submitting import Waiter, let_callers_run

MAX_VIEWS = 4
CAPACITY = 12
TOO_LARGE_ALONE, FAULTY = 7, 8  # labels
LABELS = st.lists(st.integers(0, 8), min_size=1, max_size=9)
Rows: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Submitted:
    """A submitted request. `kind` is "texts", "views" or "pairs", with the label of each."""

    waiter: Waiter
    lane: Lane
    kind: str
    labels: list[int]
    may_block: bool

    def expected(self) -> Rows:
        if self.kind == "pairs":
            return np.array([score_of(label) for label in self.labels], np.float32)
        vectors = np.stack([vector_of(label) for label in self.labels])
        if self.kind == "texts":
            return vectors
        mean = vectors.mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)


class BatcherMachine(RuleBasedStateMachine):
    """Rules share one event loop; the devices' threads finish one call for each `let_the_devices_go_on`.

    With several devices one encoder stands for all of them, which ends the calls of any of them in any order.
    """

    devices = 1

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.fits = MAX_VIEWS
        self.released = 0
        self.submitted: list[Submitted] = []
        self.cancelled: set[Waiter] = set()
        self.prepared = asyncio.Event()
        self.broken: set[int] = set()
        self.failed_calls: list[list[int]] = []  # the labels of each
        self.failed_probes: set[int] = set()  # numbers of the devices; a query of PROBE_LABEL alone looks like one
        self.device = GatedEncoder(self.fault)
        self.scorer = GatedScorer(self.device)
        self.batcher = Batcher(
            Devices([self.device] * self.devices), BatchSettings(MAX_VIEWS, 0.0, CAPACITY, CAPACITY, 0.1, CAPACITY, 0.2)
        )
        self.running = self.loop.create_task(self.batcher.run(), name="batcher")

    def fault(self, labels: list[int]) -> Exception | None:
        fault = self.fault_of(labels)
        if fault is not None:
            self.failed_calls.append(labels)
        return fault

    def fault_of(self, labels: list[int]) -> Exception | None:
        number = threading.current_thread().name.removeprefix("sidecar-device").removeprefix("-")
        if self.devices > 1 and int(number) in self.broken:
            if labels == [PROBE_LABEL]:
                self.failed_probes.add(int(number))
            return DeviceError("bus error of a broken device")
        if len(labels) > self.fits or TOO_LARGE_ALONE in labels:
            return DeviceOutOfMemory("full")
        return DeviceError("bus error") if FAULTY in labels else None

    @rule(lane=st.sampled_from(Lane), labels=LABELS)
    def submit_texts(self, lane: Lane, labels: list[int]) -> None:
        self.loop.run_until_complete(self.submit(lane, "texts", labels))

    @rule(lane=st.sampled_from([Lane.QUERY, *ROWS]), labels=LABELS)
    def submit_a_picture(self, lane: Lane, labels: list[int]) -> None:
        self.loop.run_until_complete(self.submit(lane, "views", labels))

    @rule(labels=LABELS)
    def submit_a_picture_that_may_block(self, labels: list[int]) -> None:
        self.loop.run_until_complete(self.submit(Lane.QUERY, "views", labels, may_block=True))

    @rule(labels=LABELS)
    def submit_pairs(self, labels: list[int]) -> None:
        self.loop.run_until_complete(self.submit(Lane.RERANK, "pairs", labels))

    @rule(lane=st.sampled_from([Lane.QUERY, Lane.RERANK]), labels=LABELS)
    def submit_texts_to_be_prepared(self, lane: Lane, labels: list[int]) -> None:
        self.loop.run_until_complete(self.prepare_and_submit(lane, labels))

    @rule(labels=LABELS)
    def submit_a_request_in_parts(self, labels: list[int]) -> None:
        self.loop.run_until_complete(self.prepare_and_submit(Lane.QUERY, labels, in_parts=True))

    @rule()
    def end_preparing(self) -> None:
        self.prepared.set()
        self.loop.run_until_complete(let_callers_run())
        self.prepared = asyncio.Event()

    @rule(labels=LABELS)
    def submit_with_too_little_time(self, labels: list[int]) -> None:
        self.loop.run_until_complete(self.submit(Lane.QUERY, "texts", labels, timeout_s=0.0005))

    @rule(number=st.integers(0, 40))
    def cancel(self, number: int) -> None:
        if number < len(self.submitted) and not self.submitted[number].waiter.done():
            self.submitted[number].waiter.cancel()
            self.cancelled.add(self.submitted[number].waiter)
            self.loop.run_until_complete(let_callers_run())

    @rule(fits=st.integers(1, MAX_VIEWS))
    def change_the_free_memory(self, fits: int) -> None:
        self.fits = fits

    @rule(number=st.integers(0, 3), fails=st.booleans())
    def fail_or_mend_a_device(self, number: int, fails: bool) -> None:
        """The last one that works is left alone: its end is that of the process."""
        others = [each for each in range(self.devices) if each != number and each not in self.broken]
        if number < self.devices and others:
            self.broken = self.broken | {number} if fails else self.broken - {number}

    @rule(calls=st.integers(1, 3))
    def let_the_devices_go_on(self, calls: int) -> None:
        self.loop.run_until_complete(self.release_calls(calls))

    @invariant()
    def bounds_are_kept(self) -> None:
        for lane in Lane:
            queue = self.batcher._queues[lane]  # reservations are not included
            of_lane = [
                submitted for submitted in self.submitted if submitted.lane is lane and not submitted.waiter.done()
            ]
            assert queue.waiting + queue.preparing <= max([CAPACITY, *(len(submitted.labels) for submitted in of_lane)])

    def teardown(self) -> None:
        try:
            self.loop.run_until_complete(asyncio.wait_for(self.finish(), 20))
        finally:
            self.loop.close()

    async def submit(
        self, lane: Lane, kind: str, labels: list[int], *, timeout_s: float | None = None, may_block: bool = False
    ) -> None:
        async def answer() -> Rows:
            async with asyncio.timeout(timeout_s):
                if kind == "texts":
                    return await self.batcher.encode_texts([labelled_text(label) for label in labels], lane)
                if kind == "views":
                    digest = bytes(labels)  # equal for equal views
                    picture = labelled_picture(*labels)
                    return await self.batcher.encode_picture(picture, lane, digest, may_block=may_block)
                return await self.batcher.score_pairs(self.scorer, [labelled_pair(label) for label in labels])

        waiter = asyncio.create_task(answer(), name=f"{kind} {labels}")
        self.submitted.append(Submitted(waiter, lane, kind, labels, may_block))
        await let_callers_run()

    async def prepare_and_submit(self, lane: Lane, labels: list[int], *, in_parts: bool = False) -> None:
        prepared = self.prepared

        async def answer() -> Rows:
            if in_parts:
                with self.batcher.reserve(lane, len(labels)) as reservation:
                    return np.concatenate([await encode([label], reservation.preparing(1)) for label in labels])
            return await encode(labels, self.batcher.preparing(lane, len(labels)))

        async def encode(labels: list[int], preparing: AbstractContextManager[None]) -> Rows:
            with preparing:
                await prepared.wait()
            try:
                texts = [labelled_text(label) for label in labels]
                return await self.batcher.encode_texts(texts, lane, may_block=in_parts)
            except Overloaded:
                raise AssertionError("rejected although capacity was held") from None

        waiter = asyncio.create_task(answer(), name=f"prepared {labels}")
        self.submitted.append(Submitted(waiter, lane, "texts", labels, may_block=False))
        await let_callers_run()

    async def release_calls(self, calls: int) -> None:
        for _ in range(calls):
            if len(self.device.seen) > self.released:
                self.released += 1
                self.device.release()
            for _ in range(3):  # time for the thread to take the next micro-batch
                await asyncio.to_thread(int)

    async def finish(self) -> None:
        self.device.release_all()
        self.prepared.set()
        answers = await asyncio.gather(*(submitted.waiter for submitted in self.submitted), return_exceptions=True)
        for submitted, answer in zip(self.submitted, answers, strict=True):
            self.check(submitted, answer)
        self.check_counts(answers)
        for _, labels in self.device.seen:
            assert len(labels) <= MAX_VIEWS
        for lane in Lane:
            depth = self.batcher.depth(lane)
            assert (depth.waiting, depth.reserved) == (0, 0)
        assert not self.batcher._jobs
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    def check(self, submitted: Submitted, answer: Rows | BaseException) -> None:
        if isinstance(answer, asyncio.CancelledError):
            assert submitted.waiter in self.cancelled
        elif isinstance(answer, Overloaded):
            assert not submitted.lane.is_of_rows
            assert not submitted.may_block
            assert 1 <= answer.retry_after_s <= 60
        elif isinstance(answer, DeviceOutOfMemory):
            assert TOO_LARGE_ALONE in submitted.labels
        elif isinstance(answer, DeviceError):
            assert self.may_fail(submitted.labels), answer
        elif isinstance(answer, BaseException):
            assert isinstance(answer, TimeoutError), answer
        else:
            np.testing.assert_allclose(answer, submitted.expected(), atol=1e-6)

    def may_fail(self, labels: list[int]) -> bool:
        """Whether inputs may fail for good: they are faulty, or failed on two devices, or on all that worked.

        The first failure may be that of a faulty input beside them; the second one is on a broken device.
        """
        failed = [call for call in self.failed_calls if set(call) & set(labels)]
        none_works = len(self.failed_probes) >= self.devices - 1
        return FAULTY in labels or TOO_LARGE_ALONE in labels or len(failed) >= 2 or (none_works and bool(failed))

    def check_counts(self, answers: list[Rows | BaseException]) -> None:
        """Every rejection was counted, and at most the cancelled and timed-out requests as dropped."""
        metrics = self.batcher.telemetry.metrics.registry
        kinds = Counter(
            (type(answer), submitted.lane.value) for submitted, answer in zip(self.submitted, answers, strict=True)
        )
        for lane in Lane:
            labels = {"lane": lane.value}
            cancelled = kinds[asyncio.CancelledError, lane.value] + kinds[TimeoutError, lane.value]
            rejected = metrics.get_sample_value("sidecar_refused_requests_total", labels) or 0
            dropped = metrics.get_sample_value("sidecar_dropped_jobs_total", labels) or 0
            assert rejected == kinds[Overloaded, lane.value]
            assert dropped <= cancelled


class TwoDevicesMachine(BatcherMachine):
    devices = 2


class FourDevicesMachine(BatcherMachine):
    devices = 4


for machine in (BatcherMachine, TwoDevicesMachine, FourDevicesMachine):
    machine.TestCase.settings = settings(stateful_step_count=25)
test_every_caller_gets_its_own_answer_or_the_reason_why_not = BatcherMachine.TestCase
test_every_caller_gets_its_own_answer_from_two_devices = TwoDevicesMachine.TestCase
test_every_caller_gets_its_own_answer_from_four_devices = FourDevicesMachine.TestCase
