"""What the files of deploy/ are compared with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx
import pytest

from sidecar.app import Sidecar
from tests.encoders import HashEncoder
from tests.integration.deploy.registry import series_of
from tests.integration.http.conftest import is_ready, make_settings
from tests.waiting import wait_until_async

# What Prometheus adds, and what it makes itself of every scrape.
TARGET_LABELS = frozenset({"job", "instance"})
SERIES_OF_PROMETHEUS = {"up": TARGET_LABELS}


@pytest.fixture
async def series() -> AsyncIterator[Mapping[str, frozenset[str]]]:
    """Every series that a ready service can have, with its labels."""
    service = Sidecar(make_settings(), lambda _settings: HashEncoder(), on_failure=lambda: None)
    app = service.make_app()
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        await wait_until_async(lambda: is_ready(client), "/readyz")
        found = series_of(service._telemetry.metrics.registry)
        yield {name: labels | TARGET_LABELS for name, labels in found.items()} | SERIES_OF_PROMETHEUS
