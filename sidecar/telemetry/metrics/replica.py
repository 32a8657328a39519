"""Metrics of the standby that searches and status read."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge


class ReplicaMetrics:
    """Read when the page is written, from what `follow` is given; 0 without SEARCH_DATABASE_URL."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lag = Gauge(
            "sidecar_search_replica_lag_seconds",
            "How far the standby of SEARCH_DATABASE_URL is behind the primary; NaN while that is not known.",
            registry=registry,
        )
        self._used = Gauge(
            "sidecar_search_replica_used",
            "1: searches and status read the standby of SEARCH_DATABASE_URL. 0: they read the primary.",
            registry=registry,
        )

    def follow(self, lag_s: Callable[[], float | None], is_used: Callable[[], bool]) -> None:
        self._lag.set_function(lambda: float("nan") if (lag := lag_s()) is None else lag)
        self._used.set_function(lambda: float(is_used()))
