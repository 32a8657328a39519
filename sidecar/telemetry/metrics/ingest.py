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
_DONE = {"embedded", "empty", "failed"}  # not what was found unchanged, which costs next to nothing

# (outcome, reason) → number of events; the reason is empty if there is none.
OutcomeCounts = Mapping[tuple[str, str], int]


class IngestMetrics:
    """Metrics of events and batches. Methods take whole batches: rows are too many for one call each.

    The label `watch` is `schema.table.target`. `events_handled` counts rows of which something new was written.
    """

    def __init__(self, registry: CollectorRegistry, max_watches: int = MAX_WATCHES) -> None:
        self.events_handled = 0
        self._watch = BoundedLabel(max_watches)
        self._reason = BoundedLabel(_MAX_REASONS)
        self._event_series: dict[str, set[tuple[str, str]]] = {}  # of _events, by watch
        self._events = Counter(
            "sidecar_events_total",
            "Row changes that this process handled, by outcome.",
            ["watch", "outcome", "reason"],
            registry=registry,
        )
        self._lags = BulkHistogram(
            "sidecar_commit_to_vector_lag_seconds",
            "Time from a row's change to the commit of its vector, without backfills.",
            *(["watch"], LAG_BUCKETS_S, registry),
        )
        self._backfill_lags = BulkHistogram(
            "sidecar_backfill_lag_seconds",
            "Time from when a scan (backfill, sweep, verify, reembed) found a row to the commit of its vector.",
            *(["watch"], LAG_BUCKETS_S, registry),
        )
        self.claimed = PreinitialisedCounter(
            "sidecar_claimed_events_total",
            "Claimed events, by queue: live, backfill, suspect (claimed before and never finished).",
            *("queue", ("live", "backfill", "suspect"), registry),
        )
        self.empty_claims = Counter(
            "sidecar_empty_claims_total", "Claims that found the queue empty.", registry=registry
        )
        self.wake_ups = PreinitialisedCounter(
            "sidecar_wake_ups_total",
            "Wake-ups of an idle worker, by cause: notification, poll, nudge (by this process itself).",
            *("cause", ("notification", "poll", "nudge"), registry),
        )
        self.notifications = Counter("sidecar_notifications_total", "Notifications received.", registry=registry)
        self.listening = OptionalGauge(
            "sidecar_listener_connected",
            "1: the connection that receives notifications is up; 0: polling only.",
            registry,
        )
        self.locked_rows = Gauge(
            "sidecar_locked_rows", "Vectors kept in memory while a transaction locks their row.", registry=registry
        )
        self.index_builds = PreinitialisedCounter(
            "sidecar_index_builds_total",
            "Finished index builds, by result: built, gave_way (to a session waiting for the table), failed.",
            *("result", ("built", "gave_way", "failed"), registry),
        )

    def events_done(self, watch: str, outcomes: OutcomeCounts) -> None:
        watch = self._watch(watch)
        self.events_handled += sum(count for (outcome, _), count in outcomes.items() if outcome in _DONE)
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
