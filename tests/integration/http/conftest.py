"""The whole application over a torch-free encoder, called in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import httpx
import pytest

from sidecar.app import LoadEncoder, create_app
from sidecar.config import Settings
from tests.encoders import HashEncoder
from tests.integration.roles.cast import Stage, cast_of_roles, installed_database
from tests.servers import Server
from tests.waiting import wait_until_async

Serving: TypeAlias = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


def make_settings(**changes: Any) -> Settings:
    """Settings for one decoder process; `changes` are fields of Settings."""
    return Settings(**{"vision_model_id": "hash", "decode_processes": 1, "shutdown_timeout_s": 5.0, **changes})


@pytest.fixture
def serving() -> Serving:
    """`async with serving(max_body_bytes=…) as client`: a started application, ready unless `await_ready=False`."""

    @asynccontextmanager
    async def serve(
        load_encoder: LoadEncoder = lambda _settings: HashEncoder(), *, await_ready: bool = True, **changes: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        app = create_app(make_settings(**changes), load_encoder=load_encoder)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9000") as client,
        ):
            if await_ready:
                await wait_until_async(lambda: is_ready(client), "/readyz")
            yield client

    return serve


@pytest.fixture
async def client(serving: Serving) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(max_batch_texts=4, max_text_chars=200, max_body_bytes=20_000, max_image_bytes=8_000) as client:
        yield client


@pytest.fixture
def stage(postgres_server: Server) -> Iterator[Stage]:
    """A database whose sidecar has a role of its own, with only its grants."""
    with cast_of_roles(postgres_server) as cast, installed_database(postgres_server, cast) as name:
        yield Stage(cast, postgres_server.database_url(name))


async def is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200
