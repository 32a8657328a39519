"""How often the vector of a query text was known already."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class CacheMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._lookups = Counter(
            "sidecar_query_cache_lookups_total", "Query texts looked up, by result.", ["result"], registry=registry
        )
        self._bytes = Gauge("sidecar_query_cache_bytes", "Memory that cached vectors take.", registry=registry)
        self._hits, self._misses = self._lookups.labels("hit"), self._lookups.labels("miss")

    def looked_up(self, hits: int, misses: int) -> None:
        self._hits.inc(hits)
        self._misses.inc(misses)

    def show(self, held_bytes: int) -> None:
        self._bytes.set(held_bytes)
