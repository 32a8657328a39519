"""Metrics of ingest: outcomes and lag of events, by watch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from sidecar.telemetry.metrics.instruments import (
    LAG_BUCKETS_S,
    MAX_WATCHES,
    BoundedLabel,
    BulkHistogram,
    OptionalGauge,
    PreinitialisedCounter,
)

_MAX_REASONS = 32  # twice as many as there are

# (outcome, reason) → number of events; the reason is empty if there is none.
OutcomeCounts = Mapping[tuple[str, str], int]


class IngestMetrics:
    """Metrics of events and batches. Methods take whole batches: rows are too many for one call each.

    The label `watch` is `schema.table.target`.
    """

    def __init__(self, registry: CollectorRegistry, max_watches: int = MAX_WATCHES) -> None:
        self._watch = BoundedLabel(max_watches)
        self._reason = BoundedLabel(_MAX_REASONS)
        self._event_series: dict[str, set[tuple[str, str]]] = {}  # of _events, by watch
        self._events = Counter(
            "sidecar_events_total",
            "Changes of rows that this process had in hand, by what became of them.",
            ["watch", "outcome", "reason"],
            registry=registry,
        )
        self._lags = BulkHistogram(
            "sidecar_commit_to_vector_lag_seconds",
            "Time from a change of a row to the commit of its vector. Without backfills.",
            *(["watch"], LAG_BUCKETS_S, registry),
        )
        self._backfill_lags = BulkHistogram(
            "sidecar_backfill_lag_seconds",
            "Time from the scan that found a row (backfill, sweep, verify, reembed) to the commit of its vector.",
            *(["watch"], LAG_BUCKETS_S, registry),
        )
        self.claimed = PreinitialisedCounter(
            "sidecar_claimed_events_total",
            "Events that were taken in hand, by queue: live, backfill, suspect (claimed before without an end).",
            *("queue", ("live", "backfill", "suspect"), registry),
        )
        self.empty_claims = Counter(
            "sidecar_empty_claims_total", "Looks into a queue with nothing in it.", registry=registry
        )
        self.wake_ups = PreinitialisedCounter(
            "sidecar_wake_ups_total",
            "Ends of a nap, by cause: notification, poll, nudge (work of our own).",
            *("cause", ("notification", "poll", "nudge"), registry),
        )
        self.notifications = Counter("sidecar_notifications_total", "Notifications received.", registry=registry)
        self.listening = OptionalGauge(
            "sidecar_listener_connected",
            "1: the connection that hears notifications stands; 0: polling only.",
            registry,
        )
        self.locked_rows = Gauge(
            "sidecar_locked_rows", "Vectors in memory whose row a transaction has locked.", registry=registry
        )
        self.index_builds = PreinitialisedCounter(
            "sidecar_index_builds_total",
            "Ends of index builds: built, gave_way (to somebody who waited for the table), failed.",
            *("result", ("built", "gave_way", "failed"), registry),
        )

    def events_done(self, watch: str, outcomes: OutcomeCounts) -> None:
        watch = self._watch(watch)
        for (outcome, reason), count in outcomes.items():
            labels = outcome, self._reason(reason)
            self._event_series.setdefault(watch, set()).add(labels)
            self._events.labels(watch, *labels).inc(count)

    def vectors_committed(self, watch: str, lags_s: Sequence[float], backfill_lags_s: Sequence[float]) -> None:
        watch = self._watch(watch)
        self._lags.observe_all((watch,), lags_s)
        self._backfill_lags.observe_all((watch,), backfill_lags_s)

    def set_watches(self, watches: Iterable[str]) -> None:
        """Removes the series of all other watches."""
        for gone in self._watch.keep_only(watches):
            for labels in self._event_series.pop(gone, ()):
                self._events.remove(gone, *labels)
            self._lags.remove((gone,))
            self._backfill_lags.remove((gone,))
