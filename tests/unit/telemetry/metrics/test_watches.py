"""Gauges of the last reading of the watches, and when they expire."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry

from sidecar.telemetry.metrics.watches import STALE_AFTER_S, WatchMetrics, WatchReading
from tests.scrape import Scrape, read_registry

READING = WatchReading(
    watch="public.items.embedding",
    embedded=6,
    pending=3,
    failed=1,
    empty=2,
    coverage=0.6,
    oldest_pending_s=12.5,
    broken=False,
    paused=True,
    rows_per_s=None,
    recall=0.93,
)


class Gauges:
    """WatchMetrics with a clock that the test moves."""

    def __init__(self, max_watches: int = 10) -> None:
        self.now = 100.0
        self.registry = CollectorRegistry()
        self.metrics = WatchMetrics(self.registry, max_watches, lambda: self.now)

    def read(self) -> Scrape:
        return read_registry(self.registry)


def test_before_the_first_reading_there_are_no_series() -> None:
    assert Gauges().read().series == 0


def test_a_reading_is_shown_with_its_age() -> None:
    gauges = Gauges()
    gauges.metrics.set_readings([READING])
    gauges.now += 7
    page = gauges.read()
    assert page.value("sidecar_database_up") == 1
    assert page.value("sidecar_database_reading_age_seconds") == 7
    of_watch = {
        "pending_rows": 3,
        "oldest_pending_seconds": 12.5,
        "failed_rows": 1,
        "embedded_rows": 6,
        "empty_rows": 2,
        "coverage_ratio": 0.6,
        "broken": 0,
        "paused": 1,
        "rate_cap_rows_per_second": None,
        "index_recall_ratio": 0.93,
    }
    assert {name: page.value(f"sidecar_watch_{name}", watch=READING.watch) for name in of_watch} == of_watch


def test_while_the_database_is_down_its_gauge_is_0_and_no_watch_is_shown() -> None:
    gauges = Gauges()
    gauges.metrics.set_readings([READING])
    gauges.metrics.set_database_down()
    page = gauges.read()
    assert (page.value("sidecar_database_up"), page.series) == (0, 1)


def test_of_a_stale_reading_only_the_age_is_shown() -> None:
    gauges = Gauges()
    gauges.metrics.set_readings([READING])
    gauges.now += STALE_AFTER_S + 1
    page = gauges.read()
    assert page.value("sidecar_watch_pending_rows", watch=READING.watch) is None
    assert page.value("sidecar_database_reading_age_seconds") == STALE_AFTER_S + 1


def test_a_removed_watch_disappears_from_the_page() -> None:
    gauges = Gauges()
    gauges.metrics.set_readings([READING, replace(READING, watch="b")])
    gauges.metrics.set_readings([replace(READING, watch="b")])
    assert set(gauges.read().by("sidecar_watch_pending_rows", "watch")) == {("b",)}


def test_watches_beyond_the_maximum_are_added_up() -> None:
    gauges = Gauges(max_watches=2)
    oldest = replace(READING, oldest_pending_s=99.0, pending=None, broken=True)
    gauges.metrics.set_readings([replace(READING, watch=str(number)) for number in range(4)] + [oldest])
    page = gauges.read()
    assert page.by("sidecar_watch_pending_rows", "watch") == {("0",): 3, ("1",): 3, ("other",): 6}
    assert page.value("sidecar_watch_oldest_pending_seconds", watch="other") == 99
    assert page.value("sidecar_watch_broken", watch="other") == 1
    assert page.value("sidecar_watch_coverage_ratio", watch="other") is None
