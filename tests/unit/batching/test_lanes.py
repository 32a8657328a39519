"""All lane queues, driven at random."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sidecar.batching.inputs import Kind
from sidecar.batching.job import ROWS, Job, JobSlice, Lane
from sidecar.batching.lanes import LaneQueues
from tests.unit.batching.conftest import SETTINGS
from tests.unit.batching.jobs import make_job

FAIR_LANES = st.sampled_from([Lane.QUERY, Lane.RERANK])


class LaneQueuesMachine(RuleBasedStateMachine):
    """Pushes, takes and drops jobs; compares with the counts of a simple model."""

    @initialize(max_views=st.integers(1, 8))
    def start(self, max_views: int) -> None:
        self.max_views = max_views
        self.queues = LaneQueues(SETTINGS)
        self.jobs: dict[Job, int] = {}  # number of items taken so far
        self.dropped: set[Job] = set()
        self.labels = count()

    @rule(lane=st.sampled_from(Lane), kind=st.sampled_from(Kind), size=st.integers(1, 12))
    def push(self, lane: Lane, kind: Kind, size: int) -> None:
        job = make_job(lane, kind, [next(self.labels) for _ in range(size)])
        self.jobs[job] = 0
        self.queues.push(job)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(list(self.jobs)))
        waited = job not in self.dropped and job.waiting > 0
        assert self.queues.drop(job) is waited
        self.dropped.add(job)

    @precondition(lambda self: self.queues.next_lane() is not None)
    @rule(duration_s=st.floats(0, 1))
    def take(self, duration_s: float) -> None:
        leader = self.queues.next_lane()
        assert leader is not None
        batch = self.queues.take(leader, self.max_views)
        assert batch.leader is leader
        assert 1 <= len(batch) <= self.max_views
        assert {part.job.inputs.group for part in batch.slices} == {batch.slices[0].job.inputs.group}
        for part in batch.slices:
            assert part.job not in self.dropped
            assert part.start == self.jobs[part.job]
            assert part.stop == part.job.taken
            self.jobs[part.job] = part.stop
        self.check_order_within_lanes_of_rows(batch.kind)
        self.queues.charge(batch, duration_s)

    def check_order_within_lanes_of_rows(self, kind: Kind) -> None:
        """No job of a kind is begun before all earlier ones of its kind and lane have been taken."""
        for lane in ROWS:
            of_kind = [job for job in self.jobs if job.lane is lane and job.kind is kind and job not in self.dropped]
            begun = [job for job in of_kind if self.jobs[job]]
            assert begun == of_kind[: len(begun)]
            assert all(not job.waiting for job in begun[:-1])

    def waiting_jobs(self, lane: Lane) -> list[Job]:
        return [job for job in self.jobs if job.lane is lane and job not in self.dropped and job.waiting]

    @invariant()
    def counts_agree(self) -> None:
        for lane in Lane:
            assert self.queues[lane].waiting == sum(job.waiting for job in self.waiting_jobs(lane))
            assert set(self.queues[lane].kinds()) == {job.kind for job in self.waiting_jobs(lane)}

    def teardown(self) -> None:
        while (leader := self.queues.next_lane()) is not None:
            self.queues.take(leader, self.max_views)
        assert all(job in self.dropped or not job.waiting for job in self.jobs)


LaneQueuesMachine.TestCase.settings = settings(stateful_step_count=30)
test_every_item_is_taken_once_in_order_unless_dropped = LaneQueuesMachine.TestCase


@given(st.integers(1, 100), st.integers(0, 100), st.integers(1, 200))
def test_the_shortfall_is_enough(capacity: int, used: int, wanted: int) -> None:
    queue = LaneQueues(replace(SETTINGS, query_queue_views=capacity))[Lane.QUERY]
    queue.preparing = used
    shortfall = queue.shortfall(wanted)
    assert 0 <= shortfall <= used
    queue.preparing -= shortfall
    assert queue.shortfall(wanted) == 0


def test_queries_are_retried_before_rows_that_failed_earlier() -> None:
    queues = LaneQueues(SETTINGS, devices=2)
    for lane in (Lane.BACKFILL, Lane.INGEST, Lane.QUERY):
        queues.retry(JobSlice(make_job(lane, Kind.TEXT, 1), 0, 1), failed_on=0)
    retried = [batch.leader for _ in range(3) if (batch := queues.take_retry(lambda _failed_on: True))]
    assert retried == [Lane.QUERY, Lane.INGEST, Lane.BACKFILL]
