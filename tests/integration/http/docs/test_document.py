"""`/openapi.json` and `/docs`: every endpoint is documented, and the page loads nothing from other hosts."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import jsonschema_rs
import pytest
from pydantic import SecretStr

from sidecar.http.limits import fill_in_limits, limited
from tests.integration.http.conftest import Serving

ENDPOINTS = {
    *("/embed/text", "/embed/text/batch", "/embed/image", "/embed/image/batch", "/v1/embeddings", "/v1/models"),
    *(
        "/v1/models/{model}",
        "/embeddings",
        "/embeddings_image",
        "/models",
        "/embed",
        "/",
        "/similarity",
        "/info",
        "/health",
        "/ping",
        "/v1/embed",
        "/v2/embed",
        "/rerank",
        "/v1/rerank",
        "/v2/rerank",
        "/search",
        "/doctor",
        "/tables",
        "/plan",
        "/watches",
        "/thumbnail",
        "/failures/thumbnail",
        "/failures",
        "/map",
        "/retry",
        "/pause",
        "/resume",
        "/rate",
        "/healthz",
        "/livez",
        "/readyz",
        "/status",
        "/events",
    ),
    *("/metrics", "/openapi.json", "/docs"),
}


async def read_document(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.get("/openapi.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    document: dict[str, Any] = response.json()
    return document


def references(document: object) -> set[str]:
    return set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)))


async def test_every_endpoint_is_documented_with_schemas_that_exist(client: httpx.AsyncClient) -> None:
    document = await read_document(client)
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == ENDPOINTS
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for reference in references(document):
        found: Any = document
        for step in reference.split("/"):
            found = found[step]
    for name, schema in document["components"]["schemas"].items():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        assert re.fullmatch(r"[A-Z][A-Za-z]+", name), "two models have the same name"
    unused = set(document["components"]["schemas"]) - {each.rpartition("/")[2] for each in references(document)}
    assert unused == set()


async def test_metrics_are_documented_in_both_of_their_formats(client: httpx.AsyncClient) -> None:
    content = (await read_document(client))["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
    for media in ("text/plain", "application/openmetrics-text"):
        assert media in content
        served = await client.get("/metrics", headers={"Accept": media})
        assert served.headers["content-type"].partition(";")[0] == media


async def test_bounds_that_are_settings_have_the_values_of_this_service(client: httpx.AsyncClient) -> None:
    document = await read_document(client)
    schemas = document["components"]["schemas"]
    assert schemas["TextsBody"]["properties"]["texts"]["maxItems"] == 4
    assert schemas["TextsBody"]["properties"]["texts"]["items"]["maxLength"] == 200
    assert "x-limits" not in json.dumps(document)


async def test_operations_declare_whether_they_need_a_key(client: httpx.AsyncClient) -> None:
    paths = (await read_document(client))["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            probes = {"/healthz", "/livez", "/readyz", "/health", "/ping", "/"}
            needs_key = method == "post" or path not in probes | {"/openapi.json", "/docs"}
            assert ("security" in operation, "401" in operation["responses"]) == (needs_key, needs_key), path
            assert "500" in operation["responses"]
            if "requestBody" in operation:
                assert {"400", "413", "415", "422", "429", "503"} <= set(operation["responses"])


async def test_page_and_document_need_no_key(serving: Serving) -> None:
    async with serving(api_keys=SecretStr("a-key-of-sixteen-characters")) as client:
        for path in ("/docs", "/docs/page.js", "/docs/page.css", "/openapi.json"):
            assert (await client.get(path)).status_code == 200
        assert (await client.get("/status")).status_code == 401


async def test_the_pages_policy_forbids_inline_code_and_other_hosts(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert parts == ["data:,", "docs/page.css", "docs/page.js", "openapi.json", "openapi.json"]
    assert not re.search(r"<style|style=|<script>| on\w+=", page.text)
    for path, media_type in (("/docs/page.css", "text/css"), ("/docs/page.js", "text/javascript")):
        part = await client.get(path)
        assert part.headers["content-type"] == f"{media_type}; charset=utf-8"
        assert "//" not in re.sub(r"^\s*//.*$", "", part.text, flags=re.MULTILINE), "another server's address"
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(|@import|\burl\(", part.text)


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/healthz", "/livez", "/readyz", "/status", "/v1/models"])
async def test_head_returns_the_head_of_get(client: httpx.AsyncClient, path: str) -> None:
    got, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


def test_a_bound_named_in_a_field_is_a_number_in_the_document() -> None:
    class Limits:
        most = 7

    schema = {"anyOf": [{"type": "array", **limited(min_items=1, maxItems="most")}]}
    assert fill_in_limits(schema, Limits()) == {"anyOf": [{"type": "array", "minItems": 1, "maxItems": 7}]}  # type: ignore[arg-type]
