"""Metrics of the query vectors that sessions ask for in SQL."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from sidecar.telemetry.metrics.instruments import DURATION_BUCKETS_S, BulkHistogram, PreinitialisedCounter

OUTCOMES = ("embedded", "rejected", "overloaded", "failed")


class SqlQueryMetrics:
    """Answers to sidecar.embed by outcome, and their duration. Hits of the database's cache are not seen here."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.answers = PreinitialisedCounter(
            "sidecar_sql_queries_total",
            "Query vectors asked for with sidecar.embed, by outcome: embedded, rejected, overloaded, failed.",
            *("outcome", OUTCOMES, registry),
        )
        self.seconds = BulkHistogram(
            "sidecar_sql_query_duration_seconds",
            "Time from taking a request of sidecar.embed to its answer being ready to be written.",
            *([], DURATION_BUCKETS_S, registry),
        )
