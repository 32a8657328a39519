"""The telemetry facade: metrics are counted once, and observers receive requests and vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from sidecar.batching.inputs import Kind
from sidecar.batching.job import Lane
from sidecar.telemetry.observer import Observer
from sidecar.telemetry.telemetry import Stage, Telemetry
from sidecar.telemetry.traces import BatchedJob, MicroBatchReport
from tests.scrape import read_registry


class RecordingObserver(Observer):
    def __init__(self) -> None:
        self.requests: list[tuple[str, str, int, float]] = []
        self.vectors: list[tuple[str, Sequence[float], int]] = []
        self.lane_s: list[Mapping[str, float]] = []

    def request_done(self, route: str, method: str, status: int, duration_s: float) -> None:
        self.requests.append((route, method, status, duration_s))

    def vectors_committed(self, watch: str, lags_s: Sequence[float], backfilled: int) -> None:
        self.vectors.append((watch, lags_s, backfilled))

    def device_used(self, lane_s: Mapping[str, float]) -> None:
        self.lane_s.append(lane_s)


def test_observers_receive_requests_and_vectors_with_the_lags_of_live_rows() -> None:
    observer = RecordingObserver()
    telemetry = Telemetry(observers=[observer])
    telemetry.request_started()
    telemetry.request_done("/embed/text", "POST", 429, 0.5)
    telemetry.vectors_committed("w", [0.1, 0.2], [100.0])
    telemetry.vectors_committed("w", [], [100.0])
    assert observer.requests == [("/embed/text", "POST", 429, 0.5)]
    assert observer.vectors == [("w", [0.1, 0.2], 1), ("w", [], 1)]
    page = read_registry(telemetry.metrics.registry)
    assert page.value("sidecar_commit_to_vector_lag_seconds_count", watch="w") == 2
    assert page.value("sidecar_backfill_lag_seconds_count", watch="w") == 2


def test_observers_receive_the_time_of_a_micro_batch_by_lane() -> None:
    observer = RecordingObserver()
    telemetry = Telemetry(observers=[observer])
    jobs = [BatchedJob("query", 1, 0.0, None), BatchedJob("ingest", 2, 0.0, None), BatchedJob("ingest", 1, 0.0, None)]
    telemetry.micro_batch_done(MicroBatchReport("text", 4, 0.4, jobs))
    telemetry.micro_batch_done(MicroBatchReport("text", 0, 0.4, []))
    (first, second) = observer.lane_s
    assert first == pytest.approx({"query": 0.1, "ingest": 0.3})
    assert second == {}


def test_a_stage_is_observed_even_if_it_fails() -> None:
    telemetry = Telemetry()
    with pytest.raises(KeyError), telemetry.stage(Stage.DECODE, "query", "decode"):
        raise KeyError
    page = read_registry(telemetry.metrics.registry)
    assert page.value("sidecar_stage_duration_seconds_count", stage="decode", lane="query") == 1
    assert page.by("sidecar_database_operation_duration_seconds_count", "operation") == {}


def test_a_micro_batch_counts_for_each_lane_of_its_jobs() -> None:
    telemetry = Telemetry()
    jobs = [
        BatchedJob("query", 2, 0.004, None),
        BatchedJob("query", 1, 0.2, None),
        BatchedJob("ingest", 5, 3.0, None),
    ]
    telemetry.micro_batch_done(MicroBatchReport("text", 6, 0.02, jobs))
    telemetry.micro_batch_done(MicroBatchReport("text", 1, 0.02, [BatchedJob("query", 1, 0.0, None)], "DeviceError"))
    page = read_registry(telemetry.metrics.registry)
    queue = page.by("sidecar_stage_duration_seconds_bucket", "lane", stage="queue", le="0.005")
    assert queue == {("query",): 2, ("ingest",): 0}
    assert page.value("sidecar_stage_duration_seconds_sum", stage="queue", lane="query") == pytest.approx(0.204)
    assert page.value("sidecar_stage_duration_seconds_count", stage="device", lane="ingest") == 1
    assert page.by("sidecar_device_views_total", "lane", kind="text") == {("query",): 4, ("ingest",): 5}
    assert page.value("sidecar_duplicate_views_total", kind="text") == 2
    assert page.value("sidecar_micro_batch_views_sum", kind="text") == 9
    assert page.value("sidecar_micro_batch_duration_seconds_count", kind="text") == 2
    assert page.value("sidecar_device_errors_total", kind="text") == 1


def test_counters_for_alerts_begin_at_0() -> None:
    page = read_registry(Telemetry().metrics.registry)
    lanes, kinds = {(lane.value,) for lane in Lane}, {(kind.value,) for kind in Kind}
    for name, label, known in (
        ("sidecar_refused_requests_total", "lane", lanes | {("uploads",)}),
        ("sidecar_dropped_jobs_total", "lane", lanes),
        ("sidecar_device_errors_total", "kind", kinds),
        ("sidecar_device_out_of_memory_total", "kind", kinds),
    ):
        assert page.by(name, label) == dict.fromkeys(known, 0)


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0"])
def test_the_page_has_no_created_samples(accept: str) -> None:
    telemetry = Telemetry()
    telemetry.request_refused("query")
    page, _ = telemetry.metrics.expose(accept)
    assert b'sidecar_refused_requests_total{lane="query"} 1.0' in page
    assert b"_created" not in page


def test_an_empty_claim_is_counted_apart() -> None:
    telemetry = Telemetry()
    telemetry.events_claimed("live", 0, 0.001)
    telemetry.events_claimed("backfill", 256, 0.004)
    page = read_registry(telemetry.metrics.registry)
    assert page.value("sidecar_empty_claims_total") == 1
    assert page.by("sidecar_claimed_events_total", "queue") == {("backfill",): 256, ("live",): 0, ("suspect",): 0}
    assert page.value("sidecar_database_operation_duration_seconds_count", operation="claim") == 1
