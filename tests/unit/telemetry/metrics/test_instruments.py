"""BulkHistogram counts exactly like prometheus_client's Histogram."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram

from sidecar.telemetry.metrics.instruments import BulkHistogram
from tests.scrape import Scrape, read_registry

BUCKETS = (0.1, 1.0, 10.0)
VALUES = [0.0, 0.05, 0.1, 0.10001, 1.0, 9.99, 10.0, 11.0, 1e9]  # on the bounds too


def observed(*batches: list[float]) -> tuple[BulkHistogram, CollectorRegistry]:
    registry = CollectorRegistry()
    histogram = BulkHistogram("lag_seconds", "Lag.", ["watch"], BUCKETS, registry)
    for batch in batches:
        histogram.observe_all(("w",), batch)
    return histogram, registry


def test_it_agrees_with_prometheus_client_in_every_bucket() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("lag_seconds", "Lag.", ["watch"], buckets=BUCKETS, registry=registry)
    for value in VALUES:
        histogram.labels("w").observe(value)
    expected = parts(read_registry(registry))
    for batches in ([VALUES], [VALUES[:4], VALUES[4:]]):  # numpy's path, and the loop for few values
        assert parts(read_registry(observed(*batches)[1])) == expected


def test_no_values_make_no_series() -> None:
    _, registry = observed([])
    assert read_registry(registry).series == 0


def test_a_removed_series_starts_again_from_0() -> None:
    histogram, registry = observed(VALUES)
    histogram.remove(("w",))
    assert read_registry(registry).series == 0
    histogram.observe(("w",), 5.0, times=3)
    assert read_registry(registry).value("lag_seconds_count", watch="w") == 3


def parts(page: Scrape) -> tuple[dict[tuple[str, ...], float], float | None, float | None]:
    return (
        page.by("lag_seconds_bucket", "watch", "le"),
        page.value("lag_seconds_count", watch="w"),
        page.value("lag_seconds_sum", watch="w"),
    )
