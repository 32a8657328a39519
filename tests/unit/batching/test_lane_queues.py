"""The queues between callers and the device, driven at random."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.batching.job import Job, Kind, Units
from sidecar.batching.lane import Lane
from sidecar.batching.lane_queues import LaneQueues
from tests.unit.batching.conftest import SETTINGS
from tests.unit.batching.gated_encoder import labelled_text

LANES = st.sampled_from(Lane)
Step = tuple[str, Lane, Kind, int]
PUSHES = st.tuples(st.just("push"), LANES, st.sampled_from(Kind), st.integers(1, 12))
TAKES = st.tuples(st.just("take"), LANES, st.just(Kind.TEXT), st.just(0))
DROPS = st.tuples(st.just("drop"), LANES, st.just(Kind.TEXT), st.integers(0, 20))


def make_job(lane: Lane, kind: Kind, size: int) -> Job:
    units: Units = [labelled_text(0)] * size if kind is Kind.TEXT else np.zeros((size, 2, 2, 3), np.uint8)
    loop = asyncio.new_event_loop()
    try:
        return Job(lane, units, loop.create_future())
    finally:
        loop.close()


@given(st.lists(st.one_of(PUSHES, TAKES, DROPS), max_size=40), st.integers(1, 8))
def test_every_unit_is_handed_out_once_in_order_unless_dropped(steps: list[Step], max_views: int) -> None:
    queues = LaneQueues(replace(SETTINGS, max_views=max_views))
    jobs: list[Job] = []
    handed_out: dict[Job, int] = {}
    for action, lane, kind, number in steps:
        if action == "push":
            jobs.append(make_job(lane, kind, number))
            queues.push(jobs[-1])
        elif action == "drop" and number < len(jobs):
            queues.drop(jobs[number])
        elif action == "take" and (leading := queues.next_lane()) is not None:
            batch = queues.take(leading)
            assert 1 <= len(batch) <= max_views
            assert {part.job.kind for part in batch.parts} == {batch.kind}
            for part in batch.parts:
                assert part.start == handed_out.get(part.job, 0)
                handed_out[part.job] = part.stop
        waiting = {lane: sum(job.waiting for job in jobs_in(queues, lane)) for lane in Lane}
        assert waiting == {lane: queues.waiting(lane) for lane in Lane}
    while (leading := queues.next_lane()) is not None:
        queues.take(leading)
    assert all(queues.waiting(lane) == 0 for lane in Lane)


def jobs_in(queues: LaneQueues, lane: Lane) -> list[Job]:
    return list(queues._jobs[lane])


@pytest.mark.parametrize("share", [0.05, 0.07, 0.1, 0.3, 0.5, 0.9])
def test_ingest_leads_its_share_of_the_micro_batches_while_both_wait(share: float) -> None:
    queues = LaneQueues(replace(SETTINGS, max_views=1, ingest_min_share=share))
    leaders = []
    for _ in range(1000):
        for lane in Lane:
            if not queues.waiting(lane):
                queues.push(make_job(lane, Kind.TEXT, 1))
        leader = queues.next_lane()
        assert leader is not None
        leaders.append(leader)
        queues.take(leader)
    assert leaders.count(Lane.INGEST) / len(leaders) == pytest.approx(share, abs=0.0011)


def test_a_share_of_zero_lets_queries_always_go_first() -> None:
    queues = LaneQueues(replace(SETTINGS, max_views=1, ingest_min_share=0))
    queues.push(make_job(Lane.INGEST, Kind.TEXT, 1))
    queues.push(make_job(Lane.QUERY, Kind.TEXT, 100))
    for _ in range(100):
        assert queues.next_lane() is Lane.QUERY
        queues.take(Lane.QUERY)
    assert queues.next_lane() is Lane.INGEST


@given(st.integers(1, 100), st.integers(0, 100), st.integers(1, 200))
def test_what_is_said_to_be_missing_is_enough(capacity: int, waiting: int, wanted: int) -> None:
    queues = LaneQueues(replace(SETTINGS, query_queue_views=capacity))
    queues.reserve(Lane.QUERY, waiting)
    missing = queues.missing_room(Lane.QUERY, wanted)
    assert 0 <= missing <= waiting
    queues.reserve(Lane.QUERY, -missing)
    assert queues.missing_room(Lane.QUERY, wanted) == 0
