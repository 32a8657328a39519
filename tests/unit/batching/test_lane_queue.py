"""Which jobs of a lane are in its next micro-batch."""

from __future__ import annotations

import math
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.batching.inputs import Kind
from sidecar.batching.job import Job, Lane
from sidecar.batching.lanes import LaneQueues
from sidecar.batching.micro_batch import MicroBatch
from tests.unit.batching.conftest import SETTINGS
from tests.unit.batching.jobs import make_job

BUDGET = 32
FAIR_LANES = [(Lane.QUERY, Kind.TEXT), (Lane.QUERY, Kind.PICTURE), (Lane.RERANK, Kind.PAIR)]


class Queued:
    """A lane of jobs from which micro-batches of BUDGET are taken."""

    def __init__(self, lane: Lane) -> None:
        self.queues = LaneQueues(SETTINGS)
        self._lane = lane
        self._labels = count()

    def push(self, kind: Kind, size: int) -> Job:
        job = make_job(self._lane, kind, [next(self._labels) for _ in range(size)])
        self.queues.push(job)
        return job

    def take(self) -> MicroBatch:
        return self.queues.take(self._lane, BUDGET)


@pytest.mark.parametrize(("lane", "kind"), FAIR_LANES)
def test_a_small_request_does_not_wait_behind_a_large_one(lane: Lane, kind: Kind) -> None:
    queued = Queued(lane)
    large, small, second = queued.push(kind, 256), queued.push(kind, 1), queued.push(kind, 2)
    assert len(queued.take()) == BUDGET
    assert (large.taken, small.waiting, second.waiting) == (BUDGET - 3, 0, 0)


@pytest.mark.parametrize(("lane", "kind"), FAIR_LANES)
def test_many_small_requests_leave_half_of_the_budget_to_the_oldest(lane: Lane, kind: Kind) -> None:
    queued = Queued(lane)
    large = queued.push(kind, 256)
    for _ in range(100):
        queued.push(kind, 1)
    queued.take()
    assert large.taken == BUDGET // 2


@given(st.sampled_from(FAIR_LANES), st.integers(1, 300), st.lists(st.integers(1, 40), max_size=60))
def test_no_request_starves_however_many_come_after_it(where: tuple[Lane, Kind], size: int, later: list[int]) -> None:
    lane, kind = where
    queued = Queued(lane)
    first = queued.push(kind, size)
    flood = iter(later)
    for _ in range(math.ceil(size / (BUDGET // 2))):
        for _ in range(10):
            queued.push(kind, next(flood, 1))
        queued.take()
    assert not first.waiting


def test_ingest_is_encoded_in_order_of_arrival_whatever_the_sizes() -> None:
    queued = Queued(Lane.INGEST)
    large, small = queued.push(Kind.TEXT, 40), queued.push(Kind.TEXT, 1)
    queued.take()
    assert (large.taken, small.taken) == (BUDGET, 0)
    queued.take()
    assert (large.waiting, small.waiting) == (0, 0)


def test_kinds_take_turns_while_both_wait() -> None:
    queued = Queued(Lane.QUERY)
    for _ in range(10):
        queued.push(Kind.PICTURE, 100)
    queued.take()
    text = queued.push(Kind.TEXT, 1)
    assert queued.take().kind is Kind.TEXT
    assert not text.waiting
    assert queued.take().kind is Kind.PICTURE


@given(st.lists(st.sampled_from(Kind), min_size=1, max_size=30), st.data())
def test_no_kind_waits_for_more_than_one_micro_batch_of_each_other_kind(
    arrivals: list[Kind], data: st.DataObject
) -> None:
    queued = Queued(Lane.QUERY)
    passed_over = dict.fromkeys(Kind, 0)
    for kind in arrivals:
        queued.push(kind, data.draw(st.integers(1, 100)))
        waiting = queued.queues[Lane.QUERY].kinds()
        led = queued.take().kind
        for other in Kind:
            passed_over[other] = passed_over[other] + 1 if other in waiting and other is not led else 0
        assert max(passed_over.values()) < len(Kind)
