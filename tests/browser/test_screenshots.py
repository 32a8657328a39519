"""The pictures of docs/console.md: `make screenshots` takes them, other runs leave them alone."""

from __future__ import annotations

import io
import os
import re

import psycopg
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import OpenConsole, Toys
from tests.browser.console import Console
from tests.browser.test_keys import SQL
from tests.integration.server.process import Process
from tests.named_tests import ROOT

FOLDER = ROOT / "docs/assets/console"
COLOURS = 200  # of the palette: a third of the bytes, and no difference to the eye
LOOKS = pytest.mark.parametrize(
    ("width", "height", "dark"), [(1280, 860, False), (1280, 860, True), (390, 800, False), (390, 800, True)]
)

pytestmark = pytest.mark.skipif(
    os.environ.get("SIDECAR_TEST_SCREENSHOTS") != "1", reason="only `make screenshots` takes the pictures of the docs"
)


def take(console: Console, name: str, *, dark: bool) -> None:
    size = console.page.viewport_size
    assert size is not None
    image = Image.open(io.BytesIO(console.page.screenshot(animations="disabled"))).convert("RGB")
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}-{size['width']}-{'dark' if dark else 'light'}.png"
    image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)


@LOOKS
def test_search(open_console: OpenConsole, demo: Process, width: int, height: int, *, dark: bool) -> None:
    console = open_console(demo.url, width=width, height=height, dark=dark).open(text="sad cat")
    console.await_results("crying cat")
    console.page.wait_for_load_state("networkidle")
    take(console, "search", dark=dark)


@LOOKS
def test_rows(open_console: OpenConsole, demo: Process, width: int, height: int, *, dark: bool) -> None:
    console = open_console(demo.url, width=width, height=height, dark=dark).open("rows")
    expect(console.page.locator(".plot canvas")).to_have_count(6)
    backlog = console.page.get_by_role("figure", name="Backlog").get_by_role("listitem")
    expect(backlog.first).to_contain_text(re.compile(r"\b0$"))
    take(console, "rows", dark=dark)


@LOOKS
def test_watch(open_console: OpenConsole, demo: Process, width: int, height: int, *, dark: bool) -> None:
    """Its sample: settings and query are above."""
    console = open_console(demo.url, width=width, height=height, dark=dark)
    console.open("watch", watch="public.emoji.picture_embedding")
    sample = console.page.get_by_role("region", name="Sample")
    expect(sample.locator("ol > li")).to_have_count(18)
    sample.evaluate("section => scrollTo(0, section.offsetTop - 80)")
    expect(sample.locator("img").nth(7)).to_be_visible()
    take(console, "watch", dark=dark)


@LOOKS
def test_failures(open_console: OpenConsole, demo: Process, width: int, height: int, *, dark: bool) -> None:
    console = open_console(demo.url, width=width, height=height, dark=dark).open("failures")
    expect(console.page.get_by_role("heading", name="No row has failed")).to_be_visible()
    take(console, "failures", dark=dark)


@LOOKS
def test_add(open_console: OpenConsole, demo: Process, width: int, height: int, *, dark: bool) -> None:
    console = open_console(demo.url, width=width, height=height, dark=dark)
    console.open("add", table="public.emoji", source='["name", "keywords"]')
    expect(console.page.get_by_role("region", name="Preview")).to_be_visible()
    expect(console.page.get_by_role("region", name="Plan")).to_be_visible()
    console.page.wait_for_load_state("networkidle")
    take(console, "add", dark=dark)


@LOOKS
def test_map(open_console: OpenConsole, demo: Process, width: int, height: int, *, dark: bool) -> None:
    console = open_console(demo.url, width=width, height=height, dark=dark).open("map")
    console.page.get_by_role("application").focus()
    for _ in range(40):
        console.page.keyboard.press("ArrowRight")
    expect(console.page.get_by_role("complementary", name="The row").locator("img")).to_be_visible()
    console.page.wait_for_load_state("networkidle")
    take(console, "map", dark=dark)


@LOOKS
def test_doctor(
    open_console: OpenConsole, toys: Toys, database_url: str, width: int, height: int, *, dark: bool
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
        connection.execute("alter table mugs disable trigger all")
    console = open_console(toys(database_url).url, width=width, height=height, dark=dark).open("doctor")
    expect(console.page.get_by_role("list", name="Findings")).to_contain_text("disabled")
    take(console, "doctor", dark=dark)
