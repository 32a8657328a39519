"""A counter by a label whose values are known beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter

from sidecar.telemetry.bounded_label import OTHER

LANES = ("query", "rerank", "ingest", "backfill")
KINDS = ("text", "picture", "pair")


class KnownCounter:
    """All of them begin at 0: the first event of a series that begins with it is no increase to Prometheus.

    What is not known counts as `other`.
    """

    def __init__(
        self, name: str, documentation: str, label: str, values: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._counter = Counter(name, documentation, [label], registry=registry)
        self._children = {value: self._counter.labels(value) for value in values}

    def inc(self, value: str, amount: float = 1) -> None:
        child = self._children.get(value)
        (self._counter.labels(OTHER) if child is None else child).inc(amount)
