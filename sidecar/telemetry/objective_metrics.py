"""The objectives' events for Prometheus, whose rules then need not know where the thresholds are."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sidecar.telemetry.objectives import Objectives


class ObjectiveMetrics(Collector):
    """Read at every scrape."""

    def __init__(self, objectives: Objectives) -> None:
        self._objectives = objectives

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        events = CounterMetricFamily(
            "sidecar_objective_events",
            "What an objective judges, by result: queries, changed rows.",
            labels=["objective", "result"],
        )
        targets = GaugeMetricFamily(
            "sidecar_objective_target_ratio", "The part of the events that shall be good.", labels=["objective"]
        )
        thresholds = GaugeMetricFamily(
            "sidecar_objective_threshold_seconds", "The longest duration of a good event.", labels=["objective"]
        )
        for name, objective in self._objectives.by_name.items():
            events.add_metric([name, "good"], objective.good)
            events.add_metric([name, "bad"], objective.bad)
            targets.add_metric([name], objective.target)
            if objective.threshold_s is not None:
                thresholds.add_metric([name], objective.threshold_s)
        yield from (events, targets, thresholds)
