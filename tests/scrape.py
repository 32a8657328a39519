"""Parses pages of metrics, as Prometheus does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Scrape:
    """A parsed page. `families` by name, as in `# TYPE`: names of counters have no `_total`."""

    families: Mapping[str, Metric]

    @property
    def series(self) -> int:
        return sum(len(family.samples) for family in self.families.values())

    def value(self, name: str, **labels: str) -> float | None:
        """The value of the sample with exactly these labels; None if there is none."""
        found = [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        assert len(found) <= 1, f"{name} {labels} is there {len(found)} times"
        return found[0] if found else None

    def by(self, name: str, *labels: str, **fixed: str) -> dict[tuple[str, ...], float]:
        """Samples of that name whose labels include `fixed`: the values of `labels` → the sample's value."""
        return {
            tuple(sample.labels[label] for label in labels): sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and fixed.items() <= sample.labels.items()
        }


def read(page: str) -> Scrape:
    return Scrape({family.name: family for family in text_string_to_metric_families(page)})


def read_registry(registry: CollectorRegistry) -> Scrape:
    return read(generate_latest(registry).decode())


async def scrape(client: httpx.AsyncClient) -> Scrape:
    response = await client.get("/metrics")
    assert response.status_code == 200, response.text
    return read(response.text)
