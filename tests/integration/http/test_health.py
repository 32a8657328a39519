"""Probes and /status in every state of the process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr

import sidecar
from sidecar.batching.encoder import Encoder, PreparedText
from sidecar.config import Settings
from sidecar.errors import ModelError
from tests.encoders import HashEncoder
from tests.integration.http.conftest import Serving, is_ready
from tests.integration.http.errors import assert_error
from tests.integration.http.pictures import picture
from tests.integration.ingest.proxy import proxy
from tests.waiting import wait_until_async

NOWHERE = SecretStr("postgresql://nobody:hunter2@127.0.0.1:1/nothing")


class ForgetfulEncoder(HashEncoder):
    """An encoder whose vectors depend on the rest of the batch, as those of a model with wrong padding do."""

    def _vector(self, content: bytes) -> NDArray[np.float32]:
        return super()._vector(content + bytes([len(self.calls)]))


async def test_while_the_model_loads_it_is_alive_but_not_ready(serving: Serving) -> None:
    may_load = threading.Event()

    def load(_settings: Settings) -> Encoder:
        assert may_load.wait(10)
        return HashEncoder()

    async with serving(load, await_ready=False) as client:
        assert (await client.get("/livez")).json() == {"status": "alive"}
        health = (await client.get("/healthz")).json()
        assert (health["status"], health["ready"], health["model"]) == ("ok", False, None)
        requests = [
            await client.get("/readyz"),
            await client.post("/embed/text", json={"text": "a"}),
            await client.post("/embed/text/batch", json={"texts": ["a"]}),
            await client.post("/embed/image", files={"file": ("a.png", picture())}),
            await client.post("/embed/image/batch", files={"file": ("a.png", picture())}),
        ]
        for response in requests:
            assert_error(response, 503, "model_loading", "The model is loading.")
            assert response.headers["retry-after"] == "5"
        status = (await client.get("/status")).json()
        assert (status["model"], status["lanes"]) == (None, {})
        may_load.set()
        await wait_until_async(lambda: is_ready(client), "/readyz")
        assert (await client.get("/readyz")).json() == {"status": "ready"}


async def test_a_model_that_fails_its_self_test_is_never_ready_and_the_reason_is_reported(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(lambda _settings: ForgetfulEncoder(), await_ready=False) as client:

        async def has_failed() -> bool:
            return bool((await client.get("/readyz")).json()["error"]["code"] == "model_failed")

        await wait_until_async(has_failed, "the self-test to fail")
        reason = "The model failed its self-test: "
        assert_error(await client.get("/readyz"), 503, "model_failed", reason)
        assert_error(await client.post("/embed/text", json={"text": "a"}), 503, "model_failed", reason)
        health = await client.get("/healthz")
        assert (health.status_code, health.json()["ready"]) == (200, False)
        assert health.json()["detail"].startswith(reason)
        assert (await client.get("/livez")).status_code == 200

        async def is_logged() -> bool:  # by the loop, once the thread that loads has ended
            return any(record.levelno == logging.ERROR and reason in record.message for record in caplog.records)

        await wait_until_async(is_logged, "a line in the log")


async def test_a_reason_that_quotes_a_password_is_redacted(serving: Serving) -> None:
    class TalkativeEncoder(HashEncoder):
        def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
            raise ModelError("not found at https://somebody:hunter2@models.example.com/siglip")

    async with serving(lambda _settings: TalkativeEncoder(), await_ready=False) as client:
        await wait_until_async(lambda: is_unfit(client), "the self-test to fail")
        for path in ("/healthz", "/status"):
            answer = (await client.get(path)).text
            assert "models.example.com" in answer
            assert "hunter2" not in answer


async def is_unfit(client: httpx.AsyncClient) -> bool:
    return "self-test" in (await client.get("/healthz")).json()["detail"]


async def test_once_ready_it_reports_what_it_serves(client: httpx.AsyncClient) -> None:
    model = {"id": "hash", "fingerprint": HashEncoder().fingerprint, "dim": 1152}
    health = (await client.get("/healthz")).json()
    assert health.pop("uptime_s") >= 0
    assert health == {
        "status": "ok",
        "detail": "ready",
        "ready": True,
        "version": sidecar.__version__,
        "model": model,
        "ingest": "off: REST only, DATABASE_URL is not set",
        "database": "none",
        "database_gone_since": None,
        "search_database": "none",
    }
    status = (await client.get("/status")).json()
    assert set(status.pop("objectives")) == {"query_latency", "lag", "availability"}
    assert status == {
        "status": "ready",
        "version": sidecar.__version__,
        "model": model,
        "devices": [{"device": "device:0", "trouble": None}],
        "lanes": {
            "query": {"waiting": 0, "reserved": 0, "running": 0, "capacity": 1024},
            "rerank": {"waiting": 0, "reserved": 0, "running": 0, "capacity": 1024},
            "ingest": {"waiting": 0, "reserved": 0, "running": 0, "capacity": 1024},
            "backfill": {"waiting": 0, "reserved": 0, "running": 0, "capacity": 1024},
        },
        "ingest": "off: REST only, DATABASE_URL is not set",
        "rerank": "not loaded yet",
        "database": "none",
        "database_detail": "REST only: DATABASE_URL is not set.",
        "database_gone_since": None,
        "search_database": "none",
        "replica_lag_s": None,
        "watches": None,
        "summary": None,
        "health": None,
    }


async def test_a_database_that_is_down_is_reported_and_queries_go_on(serving: Serving) -> None:
    async with serving(database_url=NOWHERE, ingest=False) as client:
        response = await client.get("/status")
        assert response.status_code == 200
        status = response.json()
        assert (status["database"], status["watches"]) == ("unavailable", None)
        assert status["database_detail"]
        assert "hunter2" not in response.text
        assert status["ingest"] == "off: REST only, INGEST=0"
        health = (await client.get("/healthz")).json()
        assert health["database"].startswith("gone since ")
        assert health["database"].endswith(" UTC, trying again")
        assert health["database_gone_since"] == status["database_gone_since"] is not None
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post("/embed/text", json={"text": "a"})).status_code == 200


async def test_queries_go_on_while_ingest_waits_for_its_database(serving: Serving) -> None:
    async with serving(database_url=NOWHERE) as client:
        status = (await client.get("/status")).json()
        assert (status["status"], status["database"]) == ("ready", "unavailable")
        assert status["ingest"] == "waiting for the database"
        assert (await client.post("/embed/text", json={"text": "a"})).status_code == 200


async def test_the_watches_of_the_database_are_listed(serving: Serving, database_url: str) -> None:
    async with serving(database_url=SecretStr(database_url), ingest=False) as client:
        status = (await client.get("/status")).json()
        assert (status["database"], status["database_detail"], status["watches"]) == ("ok", None, [])
        assert (status["summary"], status["health"]) == ("Nothing is watched.", "ok")


@pytest.mark.parametrize("ingest", [True, False])
async def test_a_database_that_goes_and_comes_back_is_one_state(
    serving: Serving, database_url: str, caplog: pytest.LogCaptureFixture, ingest: bool
) -> None:
    caplog.set_level(logging.INFO, "sidecar")
    async with proxy(database_url) as way, serving(database_url=SecretStr(way.url), ingest=ingest) as client:

        async def says(beginning: str) -> bool:
            return bool((await client.get("/healthz")).json()["database"].startswith(beginning))

        await wait_until_async(lambda: says("ok"), "the database to be found")
        await way.cut()
        await wait_until_async(lambda: says("gone since "), "the loss to be noticed", timeout_s=20)
        assert (await client.get("/readyz")).status_code == 200
        await way.open()
        await wait_until_async(lambda: says("ok"), "the database to be found again", timeout_s=20)
        assert (await client.get("/healthz")).json()["database_gone_since"] is None
    logged = [r.message for r in caplog.records if r.name.startswith("sidecar") and "database" in r.message]
    assert [line.partition(" since ")[0].partition(" after ")[0] for line in logged] == [
        "database gone",
        "database back",
    ]
