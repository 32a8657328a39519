"""Browsers: which origins may use the service, and the security headers."""

from __future__ import annotations

import httpx
import pytest

from tests.encoders import HashEncoder
from tests.integration.http.blocking_encoder import BlockingEncoder
from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.http.live_server import live_server

KEY = "0123456789abcdef"
FRIEND = "https://friend.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
}


async def test_every_answer_has_the_security_headers_and_no_banner() -> None:
    encoder = BlockingEncoder()
    known = {"Authorization": f"Bearer {KEY}"}
    async with (
        live_server(encoder, api_keys=KEY, cors_allow_origins=(FRIEND,)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        answers = [
            await client.get("/livez"),
            await client.get("/nowhere"),
            await client.put("/livez"),
            await client.post("/embed/text"),
            await client.get("/status", headers=known),
            await client.post("/embed/text", json={"text": "a"}, headers=known),
            await client.post("/embed/text", json={}, headers=known),
            await client.options("/embed/text", headers={"Origin": FRIEND, **PREFLIGHT}),
        ]
        encoder.prepare_fault = KeyError("a bug")
        answers.append(await client.post("/embed/text", json={"text": "another"}, headers=known))
    assert [answer.status_code for answer in answers] == [200, 404, 405, 401, 200, 200, 422, 200, 500]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
        assert "server" not in answer.headers
        assert len(answer.headers["x-request-id"]) == 32


async def test_pages_of_unlisted_origins_are_not_allowed_by_default(serving: Serving) -> None:
    async with serving() as client:
        preflight = await client.options("/embed/text", headers={"Origin": FRIEND, **PREFLIGHT})
        assert preflight.status_code == 405
        asked = await client.get("/livez", headers={"Origin": FRIEND})
        assert not [name for name in (*preflight.headers, *asked.headers) if name.startswith("access-control")]


@pytest.mark.parametrize(("origins", "said"), [((FRIEND,), FRIEND), (("*",), "*")])
async def test_a_listed_origin_may_send_a_key_but_no_cookies(
    serving: Serving, origins: tuple[str, ...], said: str
) -> None:
    async with serving(cors_allow_origins=origins, api_keys=KEY) as client:
        preflight = await client.options("/embed/text", headers={"Origin": FRIEND, **PREFLIGHT})
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == said
        assert preflight.headers["access-control-allow-methods"] == "GET, POST"
        assert "x-stainless-lang" in preflight.headers["access-control-allow-headers"]
        answers = [
            await client.post("/embed/text", json={"text": "a"}, headers={"Origin": FRIEND, "Authorization": header})
            for header in (f"Bearer {KEY}", "Bearer wrong-0123456789")
        ]
        assert [answer.status_code for answer in answers] == [200, 401]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == said
            assert "Retry-After" in exposed(answer)
        for answer in (preflight, *answers):
            assert "access-control-allow-credentials" not in answer.headers


async def test_an_unlisted_origin_is_not_allowed(serving: Serving) -> None:
    async with serving(cors_allow_origins=(FRIEND,), api_keys=KEY) as client:
        for origin in ("https://evil.example", "http://friend.example", f"{FRIEND}.evil", f"{FRIEND}:8443", "null"):
            preflight = await client.options("/embed/text", headers={"Origin": origin, **PREFLIGHT})
            assert_error(
                preflight, 400, "preflight_refused", "Disallowed CORS origin: CORS_ALLOW_ORIGINS names who may"
            )
            answer = await client.get("/livez", headers={"Origin": origin})
            assert "access-control-allow-origin" not in (*preflight.headers, *answer.headers)


def exposed(answer: httpx.Response) -> set[str]:
    return set(answer.headers["access-control-expose-headers"].split(", "))


async def test_every_meaningful_header_is_exposed_to_pages(serving: Serving) -> None:
    """All headers of answers, but for those of every answer and those that browsers expose anyway."""
    usual = {*("content-type", "content-length", "cache-control", "content-security-policy", "referrer-policy")}
    usual |= {*("x-content-type-options", "vary", "access-control-allow-origin", "access-control-expose-headers")}
    traces = {"otel_exporter_otlp_endpoint": "http://127.0.0.1:9"}
    async with serving(cors_allow_origins=(FRIEND,), api_keys=KEY, rerank="off", **traces) as client:
        page = {"Origin": FRIEND, "Authorization": f"Bearer {KEY}"}
        many = {"input": "word " * 100}
        gzipped = {**page, "Content-Encoding": "br", "Content-Type": "application/json"}
        answers = [
            await client.post("/v1/embeddings", json=many, headers=page),
            await client.post("/embed/text", json=many, headers={"Origin": FRIEND}),
            await client.post("/embed/text", content=b"x", headers=gzipped),
            await client.get("/embed/text", headers=page),
            await client.post("/rerank", json={"query": "a", "texts": ["b"]}, headers=page),
        ]
        assert [answer.status_code for answer in answers] == [200, 401, 415, 405, 404]
        said = {name for answer in answers for name in answer.headers} - usual
        assert {"x-sidecar-fingerprint", "x-sidecar-truncated", "x-request-id", "traceresponse", "allow"} <= said
        for answer in answers:
            assert said <= {name.lower() for name in exposed(answer)}
            assert "Retry-After" in exposed(answer)


async def test_the_server_of_sidecar_serve_has_no_banner() -> None:
    async with live_server(HashEncoder()) as port, httpx.AsyncClient() as client:
        assert set((await client.get(f"http://127.0.0.1:{port}/livez")).headers) == {
            *("date", "content-type", "content-length", "x-request-id", "cache-control"),
            *("content-security-policy", "referrer-policy", "x-content-type-options"),
        }
