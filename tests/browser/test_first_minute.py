"""From the start of the demo, as `make run` starts it, to pictures on the screen: docs/console.md has the figures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenConsole
from tests.integration.server.process import sidecar_process
from tests.waiting import wait_until

DEMO = ("-c", "from sidecar.cli import main; main()", "demo", "--port", "{port}", "--data-dir")
MAX_S = 240.0  # on a busy machine


@pytest.mark.timeout(500)
def test_the_sad_cats_are_seen_soon_after_the_first_start(
    open_console: OpenConsole, tmp_path: Path, open_tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    with sidecar_process(tmp_path, (*DEMO, str(open_tmp_path / "demo"))) as demo:
        wait_until(lambda: demo.ask("/") is not None, lambda: f"the console\n{demo.log}", MAX_S)
        console = open_console(demo.url).open()
        expect(console.page.get_by_role("searchbox")).to_be_visible()
        record_property("page_s", time.monotonic() - began)

        def finds_the_cat() -> bool:
            console.open(text="sad cat")
            console.await_results()
            return console.results.count() > 0 and "crying cat" in console.results.first.inner_text()

        wait_until(finds_the_cat, lambda: f"the crying cat\n{demo.log}", MAX_S)
        took_s = time.monotonic() - began
        record_property("search_s", took_s)
        expect(console.results.first.locator("img")).to_be_visible()
        demo.stop()
        assert demo.exit_code() == 0, demo.log
    assert took_s < MAX_S
