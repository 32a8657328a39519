"""The whole batcher, driven at random: callers come, leave and run out of time while the device runs out of memory."""

from __future__ import annotations

import asyncio
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
from sidecar.batching.job import ROWS, Lane
from sidecar.batching.lanes import BatchSettings
from sidecar.errors import DeviceError, DeviceOutOfMemory, Overloaded
from tests.unit.batching.asking import Waiter, let_callers_enter
from tests.unit.batching.gated_encoder import GatedEncoder, labelled_picture, labelled_text, vector_of
from tests.unit.batching.gated_scorer import GatedScorer, score_of
from tests.unit.batching.jobs import labelled_pair

MAX_VIEWS = 4
CAPACITY = 12
TOO_LARGE_ALONE, FAULTY = 7, 8  # labels
LABELS = st.lists(st.integers(0, 8), min_size=1, max_size=9)
Rows: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """`kind` is "texts", "views" or "pairs", with the label of each."""

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
    """One loop for all rules; the device thread runs beside them, one call for each `let_the_device_go_on`."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.fits = MAX_VIEWS
        self.went_on = 0
        self.asked: list[Asked] = []
        self.left: set[Waiter] = set()
        self.prepared = asyncio.Event()
        self.device = GatedEncoder(self.fault)
        self.scorer = GatedScorer(self.device)
        self.batcher = Batcher(self.device, BatchSettings(MAX_VIEWS, 0.0, CAPACITY, CAPACITY, 0.1, CAPACITY, 0.2))
        self.running = self.loop.create_task(self.batcher.run(), name="batcher")

    def fault(self, labels: list[int]) -> Exception | None:
        if len(labels) > self.fits or TOO_LARGE_ALONE in labels:
            return DeviceOutOfMemory("full")
        return DeviceError("bus error") if FAULTY in labels else None

    @rule(lane=st.sampled_from(Lane), labels=LABELS)
    def ask_for_texts(self, lane: Lane, labels: list[int]) -> None:
        self.loop.run_until_complete(self.ask(lane, "texts", labels))

    @rule(lane=st.sampled_from([Lane.QUERY, *ROWS]), labels=LABELS)
    def ask_for_a_picture(self, lane: Lane, labels: list[int]) -> None:
        self.loop.run_until_complete(self.ask(lane, "views", labels))

    @rule(labels=LABELS)
    def ask_for_a_later_picture_of_a_request(self, labels: list[int]) -> None:
        self.loop.run_until_complete(self.ask(Lane.QUERY, "views", labels, may_block=True))

    @rule(labels=LABELS)
    def ask_for_scores(self, labels: list[int]) -> None:
        self.loop.run_until_complete(self.ask(Lane.RERANK, "pairs", labels))

    @rule(lane=st.sampled_from([Lane.QUERY, Lane.RERANK]), labels=LABELS)
    def reserve_places_to_prepare_texts(self, lane: Lane, labels: list[int]) -> None:
        self.loop.run_until_complete(self.prepare_and_ask(lane, labels))

    @rule(labels=LABELS)
    def ask_for_a_request_in_parts(self, labels: list[int]) -> None:
        self.loop.run_until_complete(self.prepare_and_ask(Lane.QUERY, labels, in_parts=True))

    @rule()
    def end_preparing(self) -> None:
        self.prepared.set()
        self.loop.run_until_complete(let_callers_enter())
        self.prepared = asyncio.Event()

    @rule(labels=LABELS)
    def ask_with_too_little_time(self, labels: list[int]) -> None:
        self.loop.run_until_complete(self.ask(Lane.QUERY, "texts", labels, timeout_s=0.0005))

    @rule(number=st.integers(0, 40))
    def leave(self, number: int) -> None:
        if number < len(self.asked) and not self.asked[number].waiter.done():
            self.asked[number].waiter.cancel()
            self.left.add(self.asked[number].waiter)
            self.loop.run_until_complete(let_callers_enter())

    @rule(fits=st.integers(1, MAX_VIEWS))
    def change_the_free_memory(self, fits: int) -> None:
        self.fits = fits

    @rule(calls=st.integers(1, 3))
    def let_the_device_go_on(self, calls: int) -> None:
        self.loop.run_until_complete(self.go_on(calls))

    @invariant()
    def bounds_are_kept(self) -> None:
        for lane in Lane:
            queue = self.batcher._queues[lane]  # what was promised is no part of it yet
            of_lane = [asked for asked in self.asked if asked.lane is lane and not asked.waiter.done()]
            assert queue.waiting + queue.preparing <= max([CAPACITY, *(len(asked.labels) for asked in of_lane)])

    def teardown(self) -> None:
        try:
            self.loop.run_until_complete(asyncio.wait_for(self.finish(), 20))
        finally:
            self.loop.close()

    async def ask(
        self, lane: Lane, kind: str, labels: list[int], *, timeout_s: float | None = None, may_block: bool = False
    ) -> None:
        async def answer() -> Rows:
            async with asyncio.timeout(timeout_s):
                if kind == "texts":
                    return await self.batcher.encode_texts([labelled_text(label) for label in labels], lane)
                if kind == "views":
                    digest = bytes(labels)  # of the same picture, the same views
                    picture = labelled_picture(*labels)
                    return await self.batcher.encode_picture(picture, lane, digest, may_block=may_block)
                return await self.batcher.score_pairs(self.scorer, [labelled_pair(label) for label in labels])

        waiter = asyncio.create_task(answer(), name=f"{kind} {labels}")
        self.asked.append(Asked(waiter, lane, kind, labels, may_block))
        await let_callers_enter()

    async def prepare_and_ask(self, lane: Lane, labels: list[int], *, in_parts: bool = False) -> None:
        prepared = self.prepared

        async def answer() -> Rows:
            if in_parts:
                with self.batcher.reserve(lane, len(labels)) as reservation:
                    return np.concatenate([await encode([label], reservation.preparing(1)) for label in labels])
            return await encode(labels, self.batcher.preparing(lane, len(labels)))

        async def encode(labels: list[int], room: AbstractContextManager[None]) -> Rows:
            with room:
                await prepared.wait()
            try:
                texts = [labelled_text(label) for label in labels]
                return await self.batcher.encode_texts(texts, lane, may_block=in_parts)
            except Overloaded:
                raise AssertionError("refused in spite of its place") from None

        waiter = asyncio.create_task(answer(), name=f"prepared {labels}")
        self.asked.append(Asked(waiter, lane, "texts", labels, may_block=False))
        await let_callers_enter()

    async def go_on(self, calls: int) -> None:
        for _ in range(calls):
            if len(self.device.seen) > self.went_on:
                self.went_on += 1
                self.device.let_go()
            for _ in range(3):  # time for the thread to take the next micro-batch
                await asyncio.to_thread(int)

    async def finish(self) -> None:
        self.device.open()
        self.prepared.set()
        answers = await asyncio.gather(*(asked.waiter for asked in self.asked), return_exceptions=True)
        for asked, answer in zip(self.asked, answers, strict=True):
            self.check(asked, answer)
        self.check_counts(answers)
        for _, labels in self.device.seen:
            assert len(labels) <= MAX_VIEWS
        for lane in Lane:
            depth = self.batcher.depth(lane)
            assert (depth.waiting, depth.reserved) == (0, 0)
        assert not self.batcher._jobs
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    def check(self, asked: Asked, answer: Rows | BaseException) -> None:
        if isinstance(answer, asyncio.CancelledError):
            assert asked.waiter in self.left
        elif isinstance(answer, Overloaded):
            assert not asked.lane.is_of_rows
            assert not asked.may_block
            assert 1 <= answer.retry_after_s <= 60
        elif isinstance(answer, DeviceOutOfMemory):
            assert TOO_LARGE_ALONE in asked.labels
        elif isinstance(answer, BaseException):
            assert isinstance(answer, (DeviceError, TimeoutError)), answer
        else:
            np.testing.assert_allclose(answer, asked.expected(), atol=1e-6)

    def check_counts(self, answers: list[Rows | BaseException]) -> None:
        """Whoever was refused was counted, and at most those who left or ran out of time were dropped."""
        metrics = self.batcher.telemetry.metrics.registry
        kinds = Counter((type(answer), asked.lane.value) for asked, answer in zip(self.asked, answers, strict=True))
        for lane in Lane:
            labels = {"lane": lane.value}
            gone = kinds[asyncio.CancelledError, lane.value] + kinds[TimeoutError, lane.value]
            refused = metrics.get_sample_value("sidecar_refused_requests_total", labels) or 0
            dropped = metrics.get_sample_value("sidecar_dropped_jobs_total", labels) or 0
            assert refused == kinds[Overloaded, lane.value]
            assert dropped <= gone


BatcherMachine.TestCase.settings = settings(stateful_step_count=25)
test_everybody_gets_their_own_answer_once_or_is_told_why_not = BatcherMachine.TestCase
