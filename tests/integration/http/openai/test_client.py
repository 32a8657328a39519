"""OpenAI's official client, unmodified, against a server on a real port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import httpx
import numpy as np
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import CreateEmbeddingResponse
from pydantic import SecretStr

from sidecar.errors import DeviceError
from tests.encoders import HashEncoder
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.live_server import live_server
from tests.integration.http.pictures import data_uri, picture
from tests.waiting import wait_until_async

ENCODER = HashEncoder()
KEY = "a-key-for-embedding"
OTHER_KEY = "a-key-for-searching"
KEYS = SecretStr(f"embed:{KEY},search:{OTHER_KEY}")


@asynccontextmanager
async def connected(port: int, key: str = KEY) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0) as client:
        yield client


async def test_the_blocking_client_embeds_with_its_defaults() -> None:
    def ask(port: int) -> CreateEmbeddingResponse:
        with OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY) as client:
            return client.embeddings.create(model="hash", input=["a red bicycle", "a lighthouse"])

    async with live_server(HashEncoder(), api_keys=KEYS) as port:
        answer = await asyncio.to_thread(ask, port)
    expected = [ENCODER.vector_of("a red bicycle"), ENCODER.vector_of("a lighthouse")]
    np.testing.assert_array_equal(np.array([item.embedding for item in answer.data], np.float32), expected)
    assert [item.index for item in answer.data] == [0, 1]
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.total_tokens) == ("hash", 5, 5)


async def test_the_async_client_embeds_texts_and_pictures_and_lists_models() -> None:
    image = data_uri(picture())
    async with live_server(HashEncoder(), api_keys=KEYS) as port, connected(port) as client:
        as_numbers = await client.embeddings.create(model="hash", input="a", encoding_format="float")
        as_base64 = await client.embeddings.create(model="hash", input="a", dimensions=1152, user="ann")
        np.testing.assert_array_equal(np.array(as_numbers.data[0].embedding, np.float32), ENCODER.vector_of("a"))
        np.testing.assert_array_equal(np.array(as_base64.data[0].embedding, np.float32), ENCODER.vector_of("a"))
        plain = await client.embeddings.create(model="hash", input=image)
        as_infinity = await client.embeddings.create(model="hash", input=[image], extra_body={"modality": "image"})
        content = [{"type": "image_url", "image_url": {"url": image}}]
        as_vllm = await client.post(
            "/embeddings",
            cast_to=CreateEmbeddingResponse,
            body={"model": "hash", "messages": [{"role": "user", "content": content}], "encoding_format": "float"},
        )
        assert plain.data[0].embedding == as_infinity.data[0].embedding
        assert as_vllm.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-7)
        assert [model.id async for model in client.models.list()] == ["hash"]
        assert (await client.models.retrieve("hash")).owned_by == "sidecar"


async def error_of(request: Awaitable[object]) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        await request
    return caught.value


async def test_errors_become_the_clients_exceptions_with_code_message_and_param() -> None:
    async with (
        live_server(HashEncoder(), api_keys=KEYS, max_batch_texts=2) as port,
        connected(port) as client,
        connected(port, "no-key-of-this-service") as stranger,
        connected(port, OTHER_KEY) as searcher,
    ):
        error = await error_of(client.embeddings.create(model="text-embedding-3-small", input="a"))
        assert isinstance(error, openai.NotFoundError)
        assert (error.code, error.param, error.type) == ("model_not_found", "model", "invalid_request_error")
        assert "'hash' is" in error.message
        assert error.request_id

        error = await error_of(client.embeddings.create(model="hash", input=["a", ""]))
        assert isinstance(error, openai.UnprocessableEntityError)
        assert (error.code, error.param) == ("empty_text", "input[1]")

        error = await error_of(client.embeddings.create(model="hash", input=[[1, 2, 3]]))
        assert (error.status_code, error.code) == (422, "tokens_not_supported")

        error = await error_of(client.post("/embeddings", cast_to=object, content=b"{"))
        assert isinstance(error, openai.BadRequestError)

        assert isinstance(await error_of(client.models.retrieve("other")), openai.NotFoundError)
        assert isinstance(await error_of(stranger.models.list()), openai.AuthenticationError)
        assert isinstance(await error_of(searcher.models.list()), openai.PermissionDeniedError)


async def test_a_full_queue_is_a_rate_limit_error_and_the_clients_retries_succeed() -> None:
    encoder = BlockingEncoder()
    async with live_server(encoder, enable_tta=False, query_queue_views=10) as port, connected(port) as client:
        encoder.hold()
        first = asyncio.create_task(client.embeddings.create(model="hash", input="first"), name="first")
        await asyncio.to_thread(encoder.entered.wait, 10)
        ten = [f"text {number}" for number in range(10)]
        waiting = asyncio.create_task(client.embeddings.create(model="hash", input=ten), name="waiting")
        await wait_until_async(lambda: is_full(port), "the query lane to be full")
        error = await error_of(client.embeddings.create(model="hash", input="one more"))
        assert isinstance(error, openai.RateLimitError)
        assert error.code == "overloaded"
        assert int(error.response.headers["retry-after"]) >= 1
        patient = client.with_options(max_retries=3).embeddings.create(model="hash", input="patient")
        retrying = asyncio.create_task(patient, name="patient")
        encoder.release()
        await asyncio.gather(first, waiting)
        np.testing.assert_allclose((await retrying).data[0].embedding, ENCODER.vector_of("patient"))


async def is_full(port: int) -> bool:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        return bool((await client.get("/status")).json()["lanes"]["query"]["waiting"] == 10)


async def test_a_failing_device_is_a_server_error() -> None:
    encoder = BlockingEncoder()
    async with live_server(encoder) as port, connected(port) as client:
        encoder.fault = lambda: DeviceError("the device is gone")
        error = await error_of(client.embeddings.create(model="hash", input="a"))
    assert isinstance(error, openai.InternalServerError)
    assert (error.status_code, error.code) == (503, "device_error")
