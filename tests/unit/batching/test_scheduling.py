"""Guaranteed shares of the device's time, and how long queries and changes wait because of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.batching.inputs import Kind
from sidecar.batching.job import Job, JobSlice, Lane
from sidecar.batching.micro_batch import MicroBatch
from sidecar.batching.scheduling import LaneScheduler
from tests.unit.batching.jobs import make_job

QUERY, RERANK, INGEST, BACKFILL = Lane
JOBS: Mapping[Lane, Job] = {lane: make_job(lane, Kind.TEXT, 32) for lane in Lane}


def batch_of(leader: Lane, waiting: Sequence[Lane], filled: Mapping[Lane, int] | None = None) -> MicroBatch:
    items = {leader: 1, **(filled or {})}
    parts = [JobSlice(JOBS[lane], 0, count) for lane, count in items.items()]
    return MicroBatch(parts, leader, frozenset((lane, Kind.TEXT) for lane in waiting))


class Device:
    """Runs micro-batches one after another, and records the lanes that led."""

    def __init__(self, rerank: float, ingest: float, backfill: float = 0.1) -> None:
        self.scheduler = LaneScheduler({RERANK: rerank, INGEST: ingest}, backfill)
        self.led: list[tuple[Lane, float]] = []

    def run(self, waiting: Sequence[Lane], durations_s: Mapping[Lane, float]) -> Lane:
        leader = self.scheduler.choose(waiting)
        assert leader in waiting
        self.scheduler.charge(batch_of(leader, waiting), durations_s[leader])
        self.led.append((leader, durations_s[leader]))
        return leader

    def seconds_of(self, lane: Lane) -> float:
        return sum(duration_s for leader, duration_s in self.led if leader is lane)

    @property
    def seconds(self) -> float:
        return sum(duration_s for _, duration_s in self.led)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize(("query_ms", "ingest_ms"), [(5, 50), (50, 5), (20, 20)])
def test_ingest_gets_its_share_of_the_time_however_long_its_micro_batches_are(
    share: float, query_ms: float, ingest_ms: float
) -> None:
    device = Device(0, share)
    for _ in range(5000):
        device.run([QUERY, INGEST], {QUERY: query_ms / 1000, INGEST: ingest_ms / 1000})
    assert device.seconds_of(INGEST) / device.seconds == pytest.approx(share, abs=0.01)


DURATIONS = st.floats(0.001, 0.1)


@given(
    st.tuples(st.floats(0, 0.45), st.floats(0, 0.45), st.floats(0, 0.9)),
    st.lists(st.tuples(DURATIONS, DURATIONS, DURATIONS, DURATIONS), min_size=100, max_size=100),
)
def test_all_shares_are_kept_while_all_wait_whatever_the_durations(
    shares: tuple[float, float, float], durations: list[tuple[float, float, float, float]]
) -> None:
    device = Device(*shares)
    for seconds in durations:
        device.run(list(Lane), dict(zip(Lane, seconds, strict=True)))
    rerank, ingest, backfill = shares
    slack_s = 3 * max(max(seconds) for seconds in durations)
    rows_s = device.seconds_of(INGEST) + device.seconds_of(BACKFILL)
    assert device.seconds_of(RERANK) >= rerank * device.seconds - slack_s
    assert rows_s >= ingest * device.seconds - slack_s
    assert device.seconds_of(BACKFILL) >= backfill * rows_s - slack_s


@given(
    st.tuples(st.floats(0, 0.45), st.floats(0, 0.45)),
    st.lists(st.tuples(st.sets(st.sampled_from(Lane), min_size=1), DURATIONS), max_size=300),
)
def test_a_query_waits_for_one_micro_batch_of_others_or_for_what_their_shares_are_worth(
    shares: tuple[float, float], steps: list[tuple[set[Lane], float]]
) -> None:
    device = Device(*shares)
    worth = sum(shares) / (1 - sum(shares))
    last_query_s = others_s = 0.0
    for waiting, duration_s in steps:
        leader = device.run([lane for lane in Lane if lane in waiting], dict.fromkeys(Lane, duration_s))
        longest_s = max(seconds for _, seconds in device.led)
        credits_s = device.scheduler._credit_s.values()
        assert all(-longest_s <= credit_s <= 2 * longest_s for credit_s in credits_s)
        if leader is QUERY:
            last_query_s, others_s = duration_s, 0.0
        elif QUERY in waiting:
            assert others_s == 0 or others_s < last_query_s * worth
        if leader is not QUERY:
            others_s += duration_s


def test_a_single_client_beside_a_backlog_never_waits_for_two_micro_batches() -> None:
    device = Device(0.2, 0.1)
    durations = {QUERY: 0.005, INGEST: 0.05}
    for _ in range(200):
        device.run([INGEST], durations)  # a query comes while it runs
        assert device.run([QUERY, INGEST], durations) is QUERY


def test_a_single_change_beside_a_backfill_never_waits_for_two_of_its_micro_batches() -> None:
    device = Device(0.2, 0.1)
    durations = dict.fromkeys(Lane, 0.05)
    for _ in range(200):
        device.run([BACKFILL], durations)  # a row changes while it runs
        assert device.run([INGEST, BACKFILL], durations) is INGEST


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5, 0.9])
def test_a_backfill_has_its_share_of_the_time_of_rows_beside_a_flood_of_changes(share: float) -> None:
    device = Device(0.2, 0.1, share)
    for _ in range(2000):
        device.run([INGEST, BACKFILL], {INGEST: 0.02, BACKFILL: 0.05})
    assert device.seconds_of(BACKFILL) / device.seconds == pytest.approx(share, abs=0.01)


def test_a_backfill_alone_has_the_share_of_all_rows_beside_queries() -> None:
    device = Device(0.2, 0.1)
    for _ in range(2000):
        device.run([QUERY, BACKFILL], {QUERY: 0.02, BACKFILL: 0.05})
    assert device.seconds_of(BACKFILL) / device.seconds == pytest.approx(0.1, abs=0.01)


def test_items_of_a_backfill_in_micro_batches_of_changes_count() -> None:
    scheduler = LaneScheduler({RERANK: 0.0, INGEST: 0.1}, 0.1)
    for _ in range(1000):
        assert scheduler.choose([INGEST, BACKFILL]) is INGEST
        scheduler.charge(batch_of(INGEST, [INGEST, BACKFILL], {INGEST: 4, BACKFILL: 4}), 0.01)


def test_two_clients_beside_a_backlog_that_uses_half_the_device_do_not_wait_twice() -> None:
    device = Device(0.2, 0.1)
    durations = {QUERY: 0.02, INGEST: 0.02}
    for _ in range(200):
        device.run([INGEST], durations)
        assert device.run([QUERY, INGEST], durations) is QUERY
        assert device.run([QUERY, INGEST], durations) is QUERY  # came while the first one's query ran


@pytest.mark.parametrize("quiet", [[QUERY], [QUERY, RERANK]])
def test_an_idle_lane_saves_up_no_credit(quiet: list[Lane]) -> None:
    device = Device(0.2, 0.1)
    durations = {QUERY: 0.01, RERANK: 0.01, INGEST: 0.05}
    for _ in range(10_000):
        device.run(quiet, durations)
    device.led.clear()
    for _ in range(100):
        device.run([QUERY, INGEST], durations)
    assert device.seconds_of(INGEST) <= 0.1 * device.seconds + 0.05


def test_a_lane_that_ran_alone_owes_at_most_one_micro_batch() -> None:
    device = Device(0.2, 0.1)
    durations = {QUERY: 0.01, RERANK: 0.01, INGEST: 0.05}
    for _ in range(10_000):
        device.run([INGEST], durations)
    device.led.clear()
    while device.run([QUERY, INGEST], durations) is QUERY:
        assert device.seconds <= 0.05 / 0.1 + 0.01


def test_items_of_ingest_in_micro_batches_of_queries_count() -> None:
    scheduler = LaneScheduler({RERANK: 0.0, INGEST: 0.1})
    for _ in range(1000):
        assert scheduler.choose([QUERY, INGEST]) is QUERY
        scheduler.charge(batch_of(QUERY, [QUERY, INGEST], {QUERY: 4, INGEST: 4}), 0.01)


def test_a_lane_with_a_share_of_zero_always_goes_last() -> None:
    device = Device(0, 0)
    for _ in range(1000):
        assert device.run(list(Lane), dict.fromkeys(Lane, 0.01)) is QUERY
    assert device.run([RERANK, INGEST], dict.fromkeys(Lane, 0.01)) is RERANK


def test_ingest_has_its_share_beside_reranking_without_queries() -> None:
    device = Device(0.2, 0.1)
    for _ in range(2000):
        device.run([RERANK, INGEST], {RERANK: 0.03, INGEST: 0.01})
    assert device.seconds_of(INGEST) / device.seconds == pytest.approx(0.1, abs=0.01)


class Devices:
    """Several devices that take whenever they are free, from lanes that always have work."""

    def __init__(self, count: int, rerank: float, ingest: float, backfill: float) -> None:
        self.scheduler = LaneScheduler({RERANK: rerank, INGEST: ingest}, backfill, count)
        self.count = count
        self.led: list[tuple[Lane, float]] = []

    def run(self, waiting: Sequence[Lane], steps: Sequence[Mapping[Lane, float]]) -> None:
        running: list[tuple[float, MicroBatch, float]] = []
        now_s = 0.0
        for durations_s in steps:
            if len(running) == self.count:
                now_s, ended, duration_s = min(running, key=lambda each: each[0])
                running = [each for each in running if each[1] is not ended]
                self.scheduler.charge(ended, duration_s)
            leader = self.scheduler.choose(waiting)
            batch = batch_of(leader, waiting)
            self.scheduler.begin(batch)
            running.append((now_s + durations_s[leader], batch, durations_s[leader]))
            self.led.append((leader, durations_s[leader]))

    def share_of(self, *lanes: Lane) -> float:
        seconds = sum(duration_s for _, duration_s in self.led)
        return sum(duration_s for leader, duration_s in self.led if leader in lanes) / seconds

    def longest_run_of_others(self) -> int:
        """The most micro-batches in a row that were not led by queries."""
        longest = run = 0
        for leader, _ in self.led[100:]:  # before, the usual durations are not known
            run = 0 if leader is QUERY else run + 1
            longest = max(longest, run)
        return longest


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("ingest", [0.1, 0.5])
@pytest.mark.parametrize(("query_s", "others_s"), [(0.005, 0.05), (0.05, 0.005), (0.02, 0.02)])
def test_shares_hold_over_the_time_of_all_devices(count: int, ingest: float, query_s: float, others_s: float) -> None:
    devices = Devices(count, 0.2, ingest, 0.1)
    durations = {QUERY: query_s, RERANK: others_s, INGEST: others_s, BACKFILL: others_s}
    devices.run(list(Lane), [durations] * 1500)
    assert devices.share_of(RERANK) == pytest.approx(0.2, abs=0.02)
    assert devices.share_of(INGEST, BACKFILL) == pytest.approx(ingest, abs=0.02)
    assert devices.share_of(BACKFILL) == pytest.approx(0.1 * ingest, abs=0.02)


@given(
    st.sampled_from([2, 4, 8]),
    st.tuples(st.floats(0, 0.45), st.floats(0, 0.45), st.floats(0, 0.9)),
    st.lists(st.tuples(DURATIONS, DURATIONS, DURATIONS, DURATIONS), min_size=100, max_size=100),
)
def test_no_share_is_missed_by_more_than_a_few_micro_batches_a_device(
    count: int, shares: tuple[float, float, float], durations: list[tuple[float, float, float, float]]
) -> None:
    devices = Devices(count, *shares)
    devices.run(list(Lane), [dict(zip(Lane, seconds, strict=True)) for seconds in durations])
    rerank, ingest, backfill = shares
    total_s = sum(duration_s for _, duration_s in devices.led)
    slack_s = 3 * count * max(max(seconds) for seconds in durations)
    rows_s = devices.share_of(INGEST, BACKFILL) * total_s
    assert devices.share_of(RERANK) * total_s >= rerank * total_s - slack_s
    assert rows_s >= ingest * total_s - slack_s
    assert devices.share_of(BACKFILL) * total_s >= backfill * rows_s - slack_s


def test_a_lane_that_is_due_does_not_take_all_devices_at_once() -> None:
    """All of them come free before the first of its micro-batches has been paid for."""
    devices = Devices(4, 0.0, 0.1, 0.1)
    devices.run([QUERY, INGEST], [{QUERY: 0.01, INGEST: 0.05}] * 1000)
    assert devices.longest_run_of_others() == 1
    assert devices.share_of(INGEST) == pytest.approx(0.1, abs=0.02)


def test_a_lane_that_is_due_beside_reranking_does_not_take_all_devices_at_once() -> None:
    devices = Devices(4, 0.0, 0.1, 0.1)
    devices.run([RERANK, INGEST], [{RERANK: 0.01, INGEST: 0.05}] * 1000)
    leaders = [leader for leader, _ in devices.led[100:]]
    assert (INGEST, INGEST) not in pairwise(leaders)
    assert devices.share_of(INGEST) == pytest.approx(0.1, abs=0.02)


def test_queries_come_next_after_a_micro_batch_of_others_that_took_longer_than_expected() -> None:
    scheduler = LaneScheduler({RERANK: 0.2, INGEST: 0.2})
    waiting = [QUERY, RERANK, INGEST]
    queries, others = batch_of(QUERY, waiting), batch_of(RERANK, waiting)
    scheduler.begin(queries)
    scheduler.charge(queries, 0.1)
    assert scheduler.choose(waiting) is RERANK
    scheduler.begin(others)
    scheduler.charge(others, 0.3)
    assert scheduler.choose(waiting) is QUERY


def test_a_micro_batch_that_began_before_the_last_queries_does_not_use_up_what_others_may_take_after_them() -> None:
    scheduler = LaneScheduler({RERANK: 0.2, INGEST: 0.2}, devices=2)
    waiting = [QUERY, RERANK, INGEST]
    others, queries = batch_of(INGEST, waiting), batch_of(QUERY, waiting)
    scheduler.begin(others)
    scheduler.begin(queries)
    scheduler.charge(queries, 0.1)
    scheduler.charge(others, 0.3)
    assert scheduler.choose(waiting) is RERANK
