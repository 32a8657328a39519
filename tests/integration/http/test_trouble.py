"""Overload, deadlines, a failing device and bugs: the answers and the log."""

from __future__ import annotations

import asyncio
import base64
import logging
import re

import pytest

from sidecar.errors import DeviceError, DeviceOutOfMemory
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.http.pictures import picture
from tests.waiting import wait_until_async


async def test_a_full_queue_is_429_with_retry_after(serving: Serving) -> None:
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder, enable_tta=False, query_queue_views=10) as client:
        encoder.hold()
        first = asyncio.create_task(client.post("/embed/text", json={"text": "first"}), name="first")
        await asyncio.to_thread(encoder.entered.wait, 10)
        waiting = asyncio.create_task(client.post("/embed/text/batch", json={"texts": ["a"] * 10}), name="waiting")

        async def is_full() -> bool:
            return bool((await client.get("/status")).json()["lanes"]["query"]["waiting"] == 10)

        await wait_until_async(is_full, "the query lane to be full")
        for response in (
            await client.post("/embed/text", json={"text": "one more"}),
            await client.post("/embed/image", files={"file": ("a.png", picture())}),
        ):
            assert_error(response, 429, "overloaded", "The query queue is full: 10 views are waiting, ")
            assert int(response.headers["retry-after"]) >= 1
        encoder.release()
        assert {(await first).status_code, (await waiting).status_code} == {200}


async def test_a_batch_of_pictures_is_rejected_as_a_whole_before_any_is_decoded(serving: Serving) -> None:
    encoder = BlockingEncoder()
    uri = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    async with serving(lambda _settings: encoder, enable_tta=False, query_queue_views=10) as client:
        encoder.hold()
        files = [("file", (f"{number}.png", picture(size=(30, 20 + number)))) for number in range(8)]
        first = asyncio.create_task(client.post("/embed/image/batch", files=files), name="first")
        await asyncio.to_thread(encoder.entered.wait, 10)
        for response in (
            await client.post("/embed/image/batch", files=files),
            await client.post("/v1/embeddings", json={"model": "hash", "input": [uri] * 7 + ["and a text"]}),
            await client.post("/v2/rerank", json={"query": "a text", "documents": [{"image": uri}] * 7}),
        ):
            assert_error(response, 429, "overloaded", "The query queue is full: ")
            assert ", 8 more do not fit." in response.text
        encoder.release()
        assert (await first).status_code == 200
        for response in (
            await client.post("/embed/image/batch", files=files),
            await client.post("/v1/embeddings", json={"model": "hash", "input": [uri] * 20 + ["larger than the lane"]}),
            await client.post("/v2/rerank", json={"query": "a text", "documents": [{"image": uri}] * 20}),
        ):
            assert response.status_code == 200, response.text


async def test_a_request_that_takes_too_long_is_504_and_its_work_is_cancelled(serving: Serving) -> None:
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder, request_timeout_s=0.3) as client:
        encoder.hold()
        on_device, waiting = await asyncio.gather(
            client.post("/embed/text", json={"text": "on the device"}),
            client.post("/embed/text", json={"text": "behind it"}),
        )
        for response in (on_device, waiting):
            assert_error(response, 504, "timeout", "No answer within 0.3 s (REQUEST_TIMEOUT_S).")
        assert (await client.get("/status")).json()["lanes"]["query"]["waiting"] == 0
        encoder.release()


@pytest.mark.parametrize("fault", [DeviceError, DeviceOutOfMemory])
async def test_a_device_that_fails_is_503_and_the_next_request_is_answered(
    serving: Serving, fault: type[DeviceError]
) -> None:
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder) as client:
        encoder.fault = lambda: fault("the device is gone")
        response = await client.post("/embed/text", json={"text": "a"})
        assert_error(response, 503, "device_error", "the device is gone")
        assert response.headers["retry-after"] == "1"
        encoder.fault = None
        assert (await client.post("/embed/text", json={"text": "a"})).status_code == 200


async def test_a_bug_is_500_without_its_traceback_which_is_in_the_log_under_the_same_id(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder) as client:
        encoder.prepare_fault = KeyError("a secret detail")
        response = await client.post("/embed/text", json={"text": "a"})
    assert_error(response, 500, "internal_error", "Something went wrong here. The log has more under request ")
    assert "secret" not in response.text
    (request_id,) = re.findall(r"[0-9a-f]{32}", response.text)
    (record,) = [record for record in caplog.records if request_id in record.message]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert "a secret detail" in str(record.exc_info[1])
