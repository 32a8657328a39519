"""The series of a running service, with which the files of deploy/ are compared."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
from prometheus_client import CollectorRegistry

from sidecar.app import Sidecar
from tests.encoders import HashEncoder
from tests.integration.http.conftest import is_ready, make_settings
from tests.metric_families import metric_families
from tests.waiting import wait_until_async

# Labels that Prometheus adds, and the series that it makes of every scrape.
TARGET_LABELS = frozenset({"job", "instance"})
SERIES_OF_PROMETHEUS = {"up": TARGET_LABELS}
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


@pytest.fixture
async def series() -> AsyncIterator[Mapping[str, frozenset[str]]]:
    """Every series that a ready service can expose, with its labels."""
    service = Sidecar(make_settings(), lambda _settings: HashEncoder(), on_failure=lambda: None)
    app = service.make_app()
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        await wait_until_async(lambda: is_ready(client), "/readyz")
        found = series_labels(service._telemetry.metrics.registry)
        yield {name: labels | TARGET_LABELS for name, labels in found.items()} | SERIES_OF_PROMETHEUS


def series_labels(registry: CollectorRegistry) -> dict[str, frozenset[str]]:
    """The labels of each series by its name in Prometheus, without job and instance."""
    series: dict[str, frozenset[str]] = {}
    for family, labels in metric_families(registry):
        for suffix in _SUFFIXES[family.type]:
            le = {"le"} if suffix == "_bucket" else set()
            series[family.name + suffix] = frozenset(labels) | le
    return series
