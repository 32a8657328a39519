"""The status that metrics, log and span give to requests with an answer, with half of one, and with none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.types import Message, Receive, Scope, Send

from sidecar.http.middleware.request_observation import ObserveRequests
from sidecar.http.middleware.route_label import RouteLabel
from sidecar.http.operation import Operation
from sidecar.telemetry.request_context import current_request_id
from sidecar.telemetry.telemetry import Telemetry
from sidecar.telemetry.traces import RequestHead, RequestSpan, Traces
from tests.scrape import read_registry

SCOPE = {"type": "http", "path": "/items", "method": "GET", "scheme": "http", "headers": []}


class Behind:
    """An application that starts its answer, or does not, and then fails."""

    def __init__(self, starts: bool, error: type[BaseException] | None) -> None:
        self._starts = starts
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._starts:
            await send({"type": "http.response.start", "status": 206, "headers": []})
        if self._error is not None:
            raise self._error


class RecordingTraces(Traces, RequestSpan):
    enabled = True

    def __init__(self) -> None:
        self.recorded: list[tuple[str | None, int]] = []
        self._route: str | None = None

    @contextmanager
    def request(self, head: RequestHead) -> Iterator[RequestSpan]:
        self._route = head.route
        yield self

    def record_status(self, status: int) -> None:
        self.recorded.append((self._route, status))


async def nothing(_request: object) -> None:
    return None


async def receive() -> Message:
    return {"type": "http.disconnect"}


async def send(_message: Message) -> None:
    return None


def observed(behind: Behind, telemetry: Telemetry, path: str = "/items") -> ObserveRequests:
    label = RouteLabel([Operation("GET", path, nothing, "", None, None)])  # type: ignore[arg-type]
    return ObserveRequests(behind, telemetry, label)


@pytest.mark.parametrize(
    ("behind", "status"),
    [
        (Behind(starts=True, error=None), 206),
        (Behind(starts=True, error=KeyError), 206),
        (Behind(starts=True, error=asyncio.CancelledError), 499),
        (Behind(starts=False, error=KeyError), 500),
        (Behind(starts=False, error=asyncio.CancelledError), 499),
        (Behind(starts=False, error=None), 500),
    ],
    ids=["answered", "broke off", "cancelled halfway", "failed", "cancelled", "said nothing"],
)
async def test_metrics_log_and_span_record_the_same_status_once(
    behind: Behind, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sidecar.http.access_log")
    traces = RecordingTraces()
    telemetry = Telemetry(traces=traces)
    middleware = observed(behind, telemetry)
    if behind._error is None:
        await middleware(SCOPE, receive, send)
    else:
        with pytest.raises(behind._error):
            await middleware(SCOPE, receive, send)
    page = read_registry(telemetry.metrics.registry)
    counts = page.by("sidecar_http_request_duration_seconds_count", "route", "method", "status")
    assert counts == {("/items", "GET", str(status)): 1}
    assert page.value("sidecar_http_requests_in_flight") == 0
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"GET /items {status} ")
    assert traces.recorded == [("/items", status)]


async def test_metrics_and_log_have_the_same_duration(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sidecar.http.access_log")
    telemetry = Telemetry()
    await observed(Behind(starts=True, error=None), telemetry)(SCOPE, receive, send)
    sums = read_registry(telemetry.metrics.registry).by("sidecar_http_request_duration_seconds_sum", "route")
    (line,) = caplog.records
    assert isinstance(line.args, tuple)
    assert [1000 * total_s for total_s in sums.values()] == pytest.approx([line.args[3]])


async def test_a_probe_has_no_span_and_no_line_unless_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sidecar.http.access_log")
    traces = RecordingTraces()
    probe = {**SCOPE, "path": "/readyz"}
    telemetry = Telemetry(traces=traces)
    await observed(Behind(starts=True, error=None), telemetry, "/readyz")(probe, receive, send)
    assert caplog.records == []
    await observed(Behind(starts=False, error=None), telemetry, "/readyz")(probe, receive, send)
    assert [record.getMessage()[:15] for record in caplog.records] == ["GET /readyz 500"]
    assert traces.recorded == []


async def test_the_context_of_a_request_ends_with_it() -> None:
    before = current_request_id.get()
    await observed(Behind(starts=True, error=None), Telemetry())(SCOPE, receive, send)
    assert current_request_id.get() == before
