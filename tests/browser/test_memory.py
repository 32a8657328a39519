"""The page's memory while events arrive for hours."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
from playwright.sync_api import CDPSession, Route, expect

from tests.browser.conftest import OpenConsole
from tests.browser.console import Console
from tests.integration.server.process import Process
from tests.waiting import wait_until

SAMPLES_OF_AN_HOUR = 1800
MAX_GROWTH = 1.05  # from the second hour on: in the first the charts are loaded and drawn


def read_sample(url: str) -> dict[str, Any]:
    """A sample as the service sends it."""
    name = ""
    with httpx.stream("GET", f"{url}/events", timeout=30) as answer:
        for line in answer.iter_lines():
            name = line.removeprefix("event: ") if line.startswith("event:") else name
            if name == "sample" and line.startswith("data:"):
                sample: dict[str, Any] = json.loads(line.removeprefix("data:"))
                return sample
    raise AssertionError("the stream ended without a sample")


def hour(sample: dict[str, Any], number: int) -> str:
    """The events of an hour, one each two seconds."""
    first = sample["at"] + number * 3600
    samples = ({**sample, "at": first + 2 * n} for n in range(SAMPLES_OF_AN_HOUR))
    return "".join(f"event: sample\ndata: {json.dumps(each)}\n\n" for each in samples)


def heap_bytes(session: CDPSession) -> int:
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    used: int = session.send("Runtime.getHeapUsage")["usedSize"]
    return used


def test_memory_is_flat_over_hours_of_events(
    open_console: OpenConsole, demo: Process, record_property: Callable[[str, object], None]
) -> None:
    sample, asked = read_sample(demo.url), list[Route]()
    console = open_console(demo.url)
    page = console.page
    page.route("**/events", lambda route: asked.append(route))  # noqa: PLW0108 - Playwright takes no built-in
    console.open("rows")
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.enable")
    used = []
    for number in range(4):
        wait_until(partial(_has_asked, console, asked, number + 1), "the page to ask for events", 60)
        asked[number].fulfill(content_type="text/event-stream", body=hour(sample, number))
        if number == 0:
            expect(page.locator(".plot canvas")).to_have_count(6)
        wait_until(partial(_has_asked, console, asked, number + 2), "the page to ask again", 120)
        used.append(heap_bytes(session))
    record_property("heap_bytes_by_hour", used)
    assert used[3] < MAX_GROWTH * used[1], used


def _has_asked(console: Console, asked: list[Route], times: int) -> bool:
    console.page.wait_for_timeout(100)  # lets Playwright call the handlers of routes
    return len(asked) >= times
