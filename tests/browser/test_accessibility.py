"""Each screen by the rules of axe, in light and dark, wide and narrow."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import AXE
from tests.browser.conftest import OpenConsole
from tests.browser.console import Console
from tests.integration.server.process import Process

pytestmark = pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make test-browser does, with npm")

LOOKS = pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (360, False), (360, True)])


def check(console: Console) -> None:
    assert console.accessibility_faults() == []
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert console.page.evaluate(overflow) <= 0, "wider than the window"


@LOOKS
def test_search(open_console: OpenConsole, demo: Process, width: int, *, dark: bool) -> None:
    console = open_console(demo.url, width=width, dark=dark).open()
    expect(console.page.get_by_role("searchbox")).to_be_visible()
    check(console)
    console.open(
        text="sad cat", filter='[["category","equal","Smileys & Emotion",""],["id","between","1","900"]]', varied="1"
    )
    console.await_results("crying cat")
    console.page.get_by_text("This search in SQL and curl").click()
    check(console)
    console.open(watch="public.emoji.name_embedding", text="sad cat", hybrid="1")
    console.await_results("crying cat")
    check(console)
    console.results.first.locator("h2 button").click()
    expect(console.page.get_by_role("dialog")).to_be_visible()
    check(console)


@LOOKS
def test_rows(open_console: OpenConsole, demo: Process, width: int, *, dark: bool) -> None:
    console = open_console(demo.url, width=width, dark=dark).open("rows")
    expect(console.page.locator(".plot canvas")).to_have_count(6)
    check(console)


@LOOKS
def test_failures(open_console: OpenConsole, demo: Process, width: int, *, dark: bool) -> None:
    console = open_console(demo.url, width=width, dark=dark).open("failures")
    expect(console.page.get_by_role("heading", name="No row has failed")).to_be_visible()
    check(console)


@LOOKS
def test_map_and_doctor(open_console: OpenConsole, demo: Process, width: int, *, dark: bool) -> None:
    console = open_console(demo.url, width=width, dark=dark).open("map", rows="200")
    console.page.get_by_role("application").focus()
    console.page.keyboard.press("ArrowRight")
    expect(console.page.get_by_role("complementary", name="The row").locator("img")).to_be_visible()
    check(console)
    console.open("doctor")
    console.page.get_by_text("What was measured").click()
    check(console)


@LOOKS
def test_problems(open_console: OpenConsole, demo: Process, width: int, *, dark: bool) -> None:
    console = open_console(demo.url, width=width, dark=dark).open(like='{"no": 1}')
    expect(console.page.get_by_role("alert")).to_be_visible()
    check(console)
    console.page.route(
        "**/watches", lambda route: route.fulfill(status=401, json={"error": {"message": "Send a key."}})
    )
    console.open()
    expect(console.page.get_by_role("dialog")).to_be_visible()
    check(console)
