"""The number of series stays bounded, whatever names clients and users choose."""

from __future__ import annotations

import random

from prometheus_client import CollectorRegistry
from starlette.responses import Response

from sidecar.http.middleware.route_label import RouteLabel
from sidecar.http.operation import Operation
from sidecar.telemetry.metrics.ingest import IngestMetrics
from sidecar.telemetry.telemetry import Stage, Telemetry
from tests.scrape import read_registry

HOSTILE_PARTS = [
    "",
    " ",
    "/",
    "é",
    "\n",
    '"',
    "\\",
    "{",
    "}",
    "\0",
    "a" * 10_000,
    "🦊",
    "../..",
    "%00",
    "route",
    "+Inf",
]


def hostile_names(count: int) -> list[str]:
    dice = random.Random(3)
    return [f"{dice.choice(HOSTILE_PARTS)}{number}{dice.choice(HOSTILE_PARTS)}" for number in range(count)]


async def nothing(_request: object) -> Response:
    return Response()


def test_undocumented_paths_and_methods_are_one_series() -> None:
    label = RouteLabel(
        Operation(method, path, nothing, "", None, None)
        for method, path in (("POST", "/embed/text"), ("GET", "/metrics"), ("GET", "/v1/models/{model:path}"))
    )
    scopes = [
        {"path": path, "method": method}
        for path in [*hostile_names(500), "/embed/text", "/embed/text/", "/metrics"]
        for method in ["GET", "POST", "BREW", "post", "HEAD"]
    ]
    scopes += [{"path": f"/v1/models/{name}", "method": "GET"} for name in hostile_names(500)]
    assert {label.of(scope) for scope in scopes} == {
        ("/embed/text", "POST"),
        ("/embed/text", "other"),
        ("/metrics", "GET"),
        ("/metrics", "other"),
        ("/v1/models/{model}", "GET"),
        ("other", "other"),
    }


def test_a_route_is_the_same_for_head_and_get() -> None:
    label = RouteLabel([Operation("GET", "/livez", nothing, "", None, None)])
    assert label.of({"path": "/livez", "method": "HEAD"}) == ("/livez", "GET")


def test_watches_and_reasons_beyond_the_maximum_are_one_series() -> None:
    registry = CollectorRegistry()
    metrics = IngestMetrics(registry, max_watches=3)
    for name in hostile_names(200):
        metrics.events_done(name, {("failed", "not_a_picture"): 1})
        metrics.vectors_committed(name, [0.1], [0.2])
    for name in hostile_names(200):
        metrics.events_done(hostile_names(1)[0], {("failed", name): 1})

    page = read_registry(registry)
    failed = page.by("sidecar_events_total", "watch", "reason")
    assert len({watch for watch, _ in failed}) == 4
    assert len({reason for _, reason in failed}) == 33
    assert failed["other", "not_a_picture"] == 197
    assert failed[hostile_names(1)[0], "other"] == 200 - 31
    assert page.value("sidecar_commit_to_vector_lag_seconds_count", watch="other") == 197
    assert page.value("sidecar_backfill_lag_seconds_count", watch="other") == 197


def test_the_series_of_a_removed_watch_disappear_and_free_their_place() -> None:
    registry = CollectorRegistry()
    metrics = IngestMetrics(registry, max_watches=2)
    for watch in ("a", "b", "c"):
        metrics.events_done(watch, {("embedded", ""): 1})
        metrics.vectors_committed(watch, [0.1], [0.2])
    metrics.set_watches(["b", "c"])
    assert set(read_registry(registry).by("sidecar_events_total", "watch")) == {("b",), ("other",)}

    metrics.events_done("c", {("embedded", ""): 1})
    metrics.vectors_committed("c", [0.1], [])
    page = read_registry(registry)
    assert set(page.by("sidecar_events_total", "watch")) == {("b",), ("c",), ("other",)}
    assert set(page.by("sidecar_commit_to_vector_lag_seconds_count", "watch")) == {("b",), ("c",), ("other",)}
    assert set(page.by("sidecar_backfill_lag_seconds_count", "watch")) == {("b",), ("other",)}


def test_database_operations_and_statuses_are_bounded_too() -> None:
    telemetry = Telemetry()
    for name in hostile_names(200):
        with telemetry.stage(Stage.DATABASE, "ingest", name):
            pass
    for status in range(-1000, 10_000):
        telemetry.request_started()
        telemetry.request_done("/embed/text", "POST", status, 0.001)
    page = read_registry(telemetry.metrics.registry)
    assert len(page.by("sidecar_database_operation_duration_seconds_count", "operation")) == 33
    assert page.value("sidecar_stage_duration_seconds_count", stage="database", lane="ingest") == 200
    assert len(page.by("sidecar_http_request_duration_seconds_count", "status")) == 501
    assert page.value("sidecar_http_requests_in_flight") == 0
