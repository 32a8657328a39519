"""Readiness and answers while the device fails or hangs, and after it has recovered."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest

from sidecar.app import create_app, device_limits
from sidecar.batching import device_health
from sidecar.batching.device_health import DeviceCall
from sidecar.batching.encoder import PairScorer
from sidecar.config import Settings
from sidecar.errors import DeviceError, DeviceLost, DeviceOutOfMemory
from tests.encoders import HashEncoder
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.conftest import Serving, is_ready, make_settings
from tests.integration.http.errors import assert_error
from tests.integration.http.pictures import picture
from tests.scrape import scrape
from tests.unit.batching.word_scorer import WordScorer
from tests.waiting import wait_until_async

PATIENT = {"device_recovery_s": 600}


async def until_unready(client: httpx.AsyncClient) -> None:
    async def is_unready() -> bool:
        return not await is_ready(client)

    await wait_until_async(is_unready, "/readyz to be 503")


@pytest.mark.parametrize("fault", [DeviceError, DeviceOutOfMemory])
async def test_a_device_that_keeps_failing_is_not_ready_until_it_recovers(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, fault: type[DeviceError]
) -> None:
    monkeypatch.setattr(device_health, "PROBE_INTERVAL_S", 0.01)
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder, device_max_failures=2, **PATIENT) as client:
        encoder.fault = lambda: fault("the device is gone")
        for _ in range(2):
            response = await client.post("/embed/text", json={"text": "a"})
            assert_error(response, 503, "device_error", "the device is gone")
        await until_unready(client)
        reason = "The device fails: the device is gone."
        for response in (
            await client.get("/readyz"),
            await client.post("/embed/text", json={"text": "a"}),
            await client.post("/embed/image", files={"file": ("a.png", picture())}),
            await client.post("/v1/embeddings", json={"model": "hash", "input": "a"}),
        ):
            assert_error(response, 503, "device_failed", reason)
            assert response.headers["retry-after"] == "1"
        assert (await client.get("/healthz")).json()["detail"] == reason
        assert (await client.get("/status")).json()["status"] == reason
        assert (await client.get("/livez")).status_code == 200
        page = await scrape(client)
        assert (page.value("sidecar_device_trouble"), page.value("sidecar_ready")) == (1, 0)
        encoder.fault = None
        await wait_until_async(lambda: is_ready(client), "/readyz to be 200 again")
        assert (await client.post("/embed/text", json={"text": "a"})).status_code == 200
        assert (await scrape(client)).value("sidecar_device_trouble") == 0


async def test_a_device_that_hangs_is_not_ready_and_the_waiting_request_is_answered_if_it_recovers(
    serving: Serving,
) -> None:
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder, device_timeout_s=0.1, **PATIENT) as client:
        encoder.hold()
        hanging = asyncio.create_task(client.post("/embed/text", json={"text": "a"}), name="hanging")
        await until_unready(client)
        reason = "The device hangs: a micro-batch of 1 (text) takes more than 0.1 s (DEVICE_TIMEOUT_S)."
        assert_error(await client.post("/embed/text", json={"text": "b"}), 503, "device_failed", reason)
        encoder.release()
        assert (await hanging).status_code == 200
        await wait_until_async(lambda: is_ready(client), "/readyz to be 200 again")


async def test_a_lost_device_stays_unready_even_if_its_next_call_succeeds(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_health, "_LOST_GRACE_S", 600)  # else the process, which is the test's, would end
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder, **PATIENT) as client:
        encoder.fault = lambda: DeviceLost("CUDA error: device-side assert triggered")
        await client.post("/embed/text", json={"text": "a"})
        encoder.fault = None
        reason = "The device is lost: CUDA error: device-side assert triggered."
        assert_error(await client.get("/readyz"), 503, "device_failed", reason)
        assert_error(await client.post("/embed/text", json={"text": "a"}), 503, "device_failed", reason)


async def test_one_bad_text_sent_repeatedly_does_not_make_the_service_unready(serving: Serving) -> None:
    class Choosy(BlockingEncoder):
        def encode_texts(self, texts):  # type: ignore[no-untyped-def]
            if any(text.tokens == 2 for text in texts):
                raise DeviceError("two words are too many")
            return super().encode_texts(texts)

    async with serving(lambda _settings: Choosy(), **PATIENT) as client:
        for _ in range(10):
            assert (await client.post("/embed/text", json={"text": "two words"})).status_code == 503
        assert await is_ready(client)
        assert (await client.post("/embed/text", json={"text": "word"})).status_code == 200


async def test_a_reranking_model_whose_self_test_hangs_counts_as_device_trouble() -> None:
    free = threading.Event()

    def load(_settings: Settings, device_call: DeviceCall) -> PairScorer:
        with device_call("the self-test of words"):
            assert free.wait(30)
        return WordScorer()

    settings = make_settings(rerank="start", device_timeout_s=0.1, **PATIENT)
    app = create_app(settings, load_encoder=lambda _settings: HashEncoder(), load_scorer=load)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:9000") as client,
    ):

        async def hangs() -> bool:
            return "the self-test of words takes more than" in (await client.get("/healthz")).json()["detail"]

        await wait_until_async(hangs, "the hang to be found")
        assert not await is_ready(client)
        free.set()
        await wait_until_async(lambda: is_ready(client), "/readyz to be 200 again")
        answer = await client.post("/v2/rerank", json={"query": "a b", "documents": ["a", "c"]})
        assert answer.status_code == 200


class OnA(HashEncoder):
    """An encoder that claims to run on `device_name`."""

    precision = "fp32"

    def __init__(self, device_name: str) -> None:
        super().__init__()
        self.device_name = device_name

    def device_memory(self) -> dict[str, int]:
        return {}


@pytest.mark.parametrize(
    ("device", "changes", "timeout_s"),
    [
        ("cpu", {}, 600),
        ("mps", {}, 600),
        ("NVIDIA H100", {}, 60),
        ("NVIDIA H100", {"batch_max_views": 8}, 60),
        ("NVIDIA H100", {"batch_max_views": 320}, 600),
        ("cpu", {"batch_max_views": 64}, 1200),
        ("cpu", {"device_timeout_s": 5, "batch_max_views": 64}, 5),
        ("NVIDIA H100", {"device_timeout_s": 5}, 5),
    ],
)
def test_how_long_a_micro_batch_may_take_depends_on_the_device(
    device: str, changes: dict[str, float], timeout_s: float
) -> None:
    assert device_limits(make_settings(**changes), OnA(device)).timeout_s == timeout_s
