"""The metrics after requests of every outcome."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from prometheus_client.openmetrics import parser
from pydantic import SecretStr

from sidecar import __version__
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.live_server import live_server
from tests.integration.http.pictures import picture
from tests.scrape import Scrape, scrape
from tests.waiting import wait_until_async

REQUESTS = "sidecar_http_request_duration_seconds"


def requests(page: Scrape) -> dict[tuple[str, ...], float]:
    """The number of requests by route, method and status, without those of the test itself."""
    counts = page.by(f"{REQUESTS}_count", "route", "method", "status")
    return {key: count for key, count in counts.items() if key[0] not in ("/readyz", "/metrics")}


async def test_every_answer_is_counted_under_its_route_method_and_status(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await client.post("/embed/text", json={"text": "a red bicycle"})
    await client.post("/embed/text", json={"text": " "})
    await client.post("/embed/text", content=b"{")
    await client.get("/embed/text")
    await client.post("/embed/image", files={"file": ("a.png", picture())})
    await client.post("/embed/image", files={"file": ("a.png", b"no picture")})
    await client.head("/livez")
    for path in ("/nothing", "/embed/text//", "/%F0%9F%A6%8A", "/wp-admin/setup.php?step=1"):
        await client.get(path)

    page = await scrape(client)
    assert requests(page) == {
        ("/embed/text", "POST", "200"): 3,
        ("/embed/text", "POST", "422"): 1,
        ("/embed/text", "POST", "415"): 1,
        ("/embed/text", "other", "405"): 1,
        ("/embed/image", "POST", "200"): 1,
        ("/embed/image", "POST", "422"): 1,
        ("/livez", "GET", "200"): 1,
        ("other", "other", "404"): 4,
    }
    labels = {"route": "/embed/text", "method": "POST", "status": "200"}
    assert 0 < (page.value(f"{REQUESTS}_sum", **labels) or 0) < 10
    assert page.value(f"{REQUESTS}_bucket", **labels, le="60.0") == 3
    assert page.value("sidecar_http_requests_in_flight") == 1  # the scrape itself


async def test_overload_deadlines_and_disconnects_are_counted_too() -> None:
    encoder = BlockingEncoder()
    async with (
        live_server(encoder, enable_tta=False, query_queue_views=10, request_timeout_s=5.0) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        encoder.hold()
        on_device = asyncio.create_task(client.post("/embed/text", json={"text": "first"}), name="first")
        await asyncio.to_thread(encoder.entered.wait, 10)
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/embed/image", files={"file": ("a.png", picture())}, timeout=0.1)
        await until(client, "sidecar_http_requests_in_flight", 2)
        waiting = asyncio.create_task(client.post("/embed/text/batch", json={"texts": list("abcdefghij")}))
        await until(client, "sidecar_lane_waiting_views", 10, lane="query")

        page = await scrape(client)
        assert page.value("sidecar_lane_running_views", lane="query") == 1
        assert page.value("sidecar_lane_capacity_views", lane="query") == 10
        assert page.value("sidecar_lane_capacity_views", lane="ingest") == 1024
        assert page.value("sidecar_http_requests_in_flight") == 3
        assert (await client.post("/embed/text", json={"text": "too many"})).status_code == 429
        assert [(await task).status_code for task in (on_device, waiting)] == [504, 504]
        encoder.release()
        page = await scrape(client)
    assert requests(page) == {
        ("/embed/image", "POST", "499"): 1,
        ("/embed/text", "POST", "429"): 1,
        ("/embed/text", "POST", "504"): 1,
        ("/embed/text/batch", "POST", "504"): 1,
    }
    assert page.value("sidecar_refused_requests_total", lane="query") == 1
    assert page.value("sidecar_dropped_jobs_total", lane="query") == 2
    assert page.value("sidecar_lane_waiting_views", lane="query") == 0


async def until(client: httpx.AsyncClient, name: str, value: float, **labels: str) -> None:
    async def is_so() -> bool:
        return (await scrape(client)).value(name, **labels) == value

    await wait_until_async(is_so, f"{name} {labels} to be {value}")


async def test_invented_paths_and_methods_create_no_series(client: httpx.AsyncClient) -> None:
    async def make_things_up(seed: int) -> int:
        for number in range(40):
            odd = f"{seed}{number}"
            await client.request(f"BREW{odd}", f"/embed/text/{odd}")
            await client.request("POST", f"/embed/text?{odd}={odd}", json={"text": odd}, headers={odd: odd})
            await client.request("BREW", "/embed/text")
            await client.post("/v1/embeddings", json={"model": odd, "input": odd, "user": odd})
        return (await scrape(client)).series

    await scrape(client)  # which makes a series itself
    assert await make_things_up(1) == await make_things_up(2)


async def test_with_keys_it_requires_the_admin_scope_and_denials_are_counted(serving: Serving) -> None:
    keys = SecretStr("embed+search:key-of-an-app-0123,admin:key-of-prometheus")
    async with serving(api_keys=keys) as client:

        async def ask(key: str | None) -> int:
            headers = {} if key is None else {"authorization": f"Bearer {key}"}
            return (await client.get("/metrics", headers=headers)).status_code

        asked = [None, "key-of-nobody-012345", "key-of-an-app-0123", "key-of-prometheus"]
        assert [await ask(key) for key in asked] == [401, 401, 403, 200]
        client.headers["authorization"] = "Bearer key-of-prometheus"
        counts = (await scrape(client)).by(f"{REQUESTS}_count", "status", route="/metrics")
        assert counts == {("401",): 2, ("403",): 1, ("200",): 1}


async def test_a_bug_is_a_500(serving: Serving) -> None:
    encoder = BlockingEncoder()
    async with serving(lambda _settings: encoder) as client:
        encoder.prepare_fault = KeyError("a bug")
        await client.post("/embed/text", json={"text": "a"})
        assert requests(await scrape(client)) == {("/embed/text", "POST", "500"): 1}


async def test_stages_cache_and_decoders_are_those_of_the_requests(client: httpx.AsyncClient) -> None:
    before = await scrape(client)
    for text in ("one", "two", "one"):
        await client.post("/embed/text", json={"text": text})
    await client.post("/embed/image", files={"file": ("a.png", picture())})
    page = await scrape(client)

    def gained(name: str, **labels: str) -> float:
        return (page.value(name, **labels) or 0) - (before.value(name, **labels) or 0)

    assert gained("sidecar_query_cache_lookups_total", result="miss") == 2
    assert gained("sidecar_query_cache_lookups_total", result="hit") == 1
    assert (page.value("sidecar_query_cache_bytes") or 0) > 2 * 1152 * 4
    assert gained("sidecar_stage_duration_seconds_count", stage="decode", lane="query") == 1
    assert gained("sidecar_stage_duration_seconds_count", stage="prepare", lane="query") == 2
    assert gained("sidecar_stage_duration_seconds_count", stage="queue", lane="query") == 3
    assert gained("sidecar_stage_duration_seconds_count", stage="device", lane="query") == 3
    assert gained("sidecar_micro_batch_views_sum", kind="text") == 2
    assert gained("sidecar_micro_batch_views_count", kind="picture") == 1
    assert page.value("sidecar_decoder_processes") == page.value("sidecar_decoder_processes_wanted") == 1
    assert page.value("sidecar_decoder_restarts_total") == 0


async def test_it_reports_version_model_and_start_time(client: httpx.AsyncClient) -> None:
    async def has_looked() -> bool:
        return ((await scrape(client)).value("sidecar_event_loop_lag_seconds_count") or 0) > 0

    await wait_until_async(has_looked, "a look at the event loop")
    page = await scrape(client)
    (model,) = page.by("sidecar_model_info", "model", "fingerprint", "dimensions")
    assert model == ("hash", "hash-1152-32", "1152")
    ((version,),) = page.by("sidecar_build_info", "version")
    assert version == __version__
    assert page.value("sidecar_ready") == 1
    assert (page.value("process_resident_memory_bytes") or 0) > 10e6


async def test_without_a_database_there_are_no_metrics_of_one(client: httpx.AsyncClient) -> None:
    page = await scrape(client)
    silent = ("sidecar_database_up", "sidecar_listener_connected")
    assert [page.value(name) for name in silent] == [None, None]


async def test_while_the_model_loads_it_is_not_ready(serving: Serving) -> None:
    async with serving(lambda _settings: BlockingEncoder(), await_ready=False) as client:
        assert (await scrape(client)).value("sidecar_ready") == 0


async def test_openmetrics_is_served_on_request(client: httpx.AsyncClient) -> None:
    await client.post("/embed/text", json={"text": "a"})
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    response = await client.get("/metrics", headers={"accept": accept})
    assert response.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    families = parser.text_string_to_metric_families(response.text)  # type: ignore[no-untyped-call]
    assert "sidecar_ready" in {family.name for family in families}
    assert (await client.get("/metrics")).headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
