"""Request ids in requests, answers and logs."""

from __future__ import annotations

import logging

import httpx
import pytest

from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.conftest import Serving


async def test_a_usable_id_is_returned(client: httpx.AsyncClient) -> None:
    for mine in ("7", "3f2c-9b1d", "Root=1-5759e988-bd862e3fe1be46a994272793", "a/b:c_d.e+f=", "x" * 128):
        for path in ("/livez", "/readyz", "/nowhere", "/embed/text"):
            assert (await client.get(path, headers={"X-Request-ID": mine})).headers.get_list("x-request-id") == [mine]


async def test_an_unusable_id_is_replaced(client: httpx.AsyncClient) -> None:
    for mine in ("", "x" * 129, "a b", "a\tb", "<script>", "a,b", "ä", "a%0d%0ab", '"', "a;b"):
        answers = [await client.get("/livez", headers={b"X-Request-ID": mine.encode()}) for _ in range(2)]
        ids = [answer.headers["x-request-id"] for answer in answers]
        assert all(len(given) == 32 and given.isalnum() for given in ids)
        assert ids[0] != ids[1]


async def test_a_bug_is_answered_and_logged_with_the_id_of_its_request(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder) as client:
        encoder.prepare_fault = KeyError("a bug")
        answer = await client.post("/embed/text", json={"text": "a"}, headers={"X-Request-ID": "order-66"})
    assert answer.headers["x-request-id"] == "order-66"
    assert answer.json()["error"]["message"] == "Something went wrong here. The log has more under request order-66."
    (record,) = [
        record for record in caplog.records if record.levelno == logging.ERROR and record.name.startswith("sidecar")
    ]
    assert record.getMessage() == "Request order-66 failed: POST /embed/text"


async def test_a_path_cannot_forge_a_log_line(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving() as client:
        await client.get("/x%0a2026-11-23%20CRITICAL%20all%20is%20lost?q=s3cret")
        await client.get("/" + "y" * 5000)
    logged = [record.getMessage() for record in caplog.records if record.name == "sidecar.http.access_log"]
    lines = [line for line in logged if "/readyz" not in line]
    assert lines[0].startswith("GET /x%0a2026-11-23%20CRITICAL%20all%20is%20lost 404 ")
    assert lines[1].startswith(f"GET /{'y' * 199}… 404 ")
