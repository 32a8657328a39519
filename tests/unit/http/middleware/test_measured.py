"""Under which status a request is counted that got no answer, or only half of one."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from sidecar.http.middleware.measured import Measured
from sidecar.http.middleware.route_label import RouteLabel
from sidecar.http.operation import Operation
from sidecar.telemetry.telemetry import Telemetry
from tests.scrape import read_registry

SCOPE = {"type": "http", "path": "/livez", "method": "GET"}


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


async def nothing(_request: object) -> None:
    return None


async def receive() -> Message:
    return {"type": "http.disconnect"}


async def send(_message: Message) -> None:
    return None


@pytest.mark.parametrize(
    ("behind", "status"),
    [
        (Behind(starts=True, error=None), "206"),
        (Behind(starts=True, error=KeyError), "206"),
        (Behind(starts=False, error=KeyError), "500"),
        (Behind(starts=False, error=asyncio.CancelledError), "499"),
        (Behind(starts=False, error=None), "500"),
    ],
    ids=["answered", "broke off", "failed", "cancelled", "said nothing"],
)
async def test_it_is_counted_once_and_is_over(behind: Behind, status: str) -> None:
    telemetry = Telemetry()
    label = RouteLabel([Operation("GET", "/livez", nothing, "", None, None)])  # type: ignore[arg-type]
    measured = Measured(behind, telemetry, label)
    if behind._error is None:
        await measured(SCOPE, receive, send)
    else:
        with pytest.raises(behind._error):
            await measured(SCOPE, receive, send)
    page = read_registry(telemetry.metrics.registry)
    counts = page.by("sidecar_http_request_duration_seconds_count", "route", "method", "status")
    assert counts == {("/livez", "GET", status): 1}
    assert page.value("sidecar_http_requests_in_flight") == 0
