"""How often the vector of a query text was known already."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from sidecar.telemetry.known_counter import KnownCounter


class CacheMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._lookups = KnownCounter(
            "sidecar_query_cache_lookups_total",
            "Query texts looked up, by result.",
            *("result", ("hit", "miss"), registry),
        )
        self._bytes = Gauge("sidecar_query_cache_bytes", "Memory that cached vectors take.", registry=registry)

    def looked_up(self, hits: int, misses: int) -> None:
        self._lookups.inc("hit", hits)
        self._lookups.inc("miss", misses)

    def show(self, held_bytes: int) -> None:
        self._bytes.set(held_bytes)
