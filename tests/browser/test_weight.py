"""How much is loaded, and how soon something is seen: docs/console.md has the figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenConsole
from tests.integration.server.process import Process

MAX_PAGE_BYTES = 120_000  # without pictures and answers
MAX_FIRST_PAINT_MS = 1500  # on a busy machine; 100 to 200 on an idle one


def test_the_page_is_light_and_seen_at_once(
    open_console: OpenConsole, demo: Process, record_property: Callable[[str, object], None]
) -> None:
    console = open_console(demo.url)
    loaded: dict[str, int] = {}
    console.page.on(
        "requestfinished",
        lambda request: loaded.update({request.url: request.sizes()["responseBodySize"]}),
    )
    console.open()
    expect(console.page.get_by_role("searchbox")).to_be_visible()
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    first_paint_ms = console.page.evaluate(paint)
    weight = sum(size for url, size in loaded.items() if not url.endswith("/watches"))
    record_property("page_bytes", weight)
    record_property("first_paint_ms", first_paint_ms)
    assert all(url.startswith(demo.url) for url in loaded)
    assert 20_000 < weight < MAX_PAGE_BYTES
    assert first_paint_ms < MAX_FIRST_PAINT_MS


@pytest.mark.parametrize("name", ["main.js", "style.css"])
def test_what_the_browser_has_is_not_loaded_again(open_console: OpenConsole, demo: Process, name: str) -> None:
    console = open_console(demo.url).open()
    expect(console.page.get_by_role("searchbox")).to_be_visible()
    with console.page.expect_response(f"**/console/{name}") as response:
        console.page.reload()
    assert response.value.request.sizes()["responseBodySize"] == 0
