"""A live server whose encoder a test can block."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.live_server import live_server


@pytest.fixture
def encoder() -> BlockingEncoder:
    return BlockingEncoder()


@pytest.fixture
async def port(encoder: BlockingEncoder) -> AsyncIterator[int]:
    async with live_server(encoder) as port:
        yield port
