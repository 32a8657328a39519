"""Small windows, large letters, colours of the system's own, little motion, long names, other time zones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenConsole, Toys
from tests.browser.console import Console
from tests.browser.made_up import find, offer, sample, send, watch
from tests.integration.server.process import Process

LONG = "x" * 63
LONG_NAMES = f"""
create table "t{LONG[1:]}" ("k{LONG[1:]}" text primary key, "c{LONG[1:]}" text);
select sidecar.watch('"t{LONG[1:]}"', source => 'c{LONG[1:]}', target => 'v{LONG[1:]}', expose => array['c{LONG[1:]}']);
insert into "t{LONG[1:]}" values (repeat('k', 4000), 'green mug ' || repeat('w', 3000)), ('🐙', 'red mug');
"""
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC).timestamp()

# The texts that charts draw: a canvas has none to look for.
RECORD_TEXTS = """
    window.drawn = [];
    const fillText = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...others) {
        window.drawn.push(text);
        return fillText.call(this, text, ...others);
    };
"""


@pytest.fixture
def long_names(toys: Toys, database_url: str) -> Iterator[Process]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(LONG_NAMES.encode())
        yield toys(database_url)


def width_of(page: Page) -> int:
    width: int = page.evaluate("document.documentElement.scrollWidth")
    return width


@pytest.mark.parametrize("screen", ["search", "rows", "failures", "add", "map", "doctor"])
def test_each_screen_fits_where_letters_are_four_times_as_large(
    open_console: OpenConsole, long_names: Process, screen: str
) -> None:
    """A window of 1280 pixels, at a zoom of 400 %, has 320."""
    console = open_console(long_names.url, width=320, height=256)
    page = console.open(screen).page
    if screen == "search":
        console.search("green mug")
        console.await_results("green mug")
        page.get_by_role("button", name="Add a filter").click()
        page.get_by_text("This search in SQL and curl").click()
        assert width_of(page) <= 320
        console.results.first.locator("h2 button").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        assert dialog.evaluate("element => element.scrollWidth <= element.clientWidth")
    elif screen == "rows":
        expect(page.locator(".plot canvas")).to_have_count(6)
    elif screen == "add":
        page.get_by_role("link", name="public.t").click()
        page.get_by_role("checkbox").first.check()
        expect(page.get_by_role("region", name="Plan")).to_be_visible()
        page.get_by_text("More", exact=True).click()
    elif screen == "map":
        page.get_by_role("application").focus()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("link", name="More like this")).to_be_visible()
    else:
        expect(page.get_by_role("status").last).not_to_contain_text("…")
    assert width_of(page) <= 320


def test_nothing_moves_for_ever_where_little_motion_is_wanted(open_console: OpenConsole, blank: Process) -> None:
    console = open_console(blank.url, reduced_motion="reduce")
    offer(console.page, watch("public.cats"))
    console.page.route("**/search", lambda _route: None)
    console.open(text="cat")
    expect(console.page.get_by_text("Searching …")).to_be_visible()
    moving = "document.getAnimations().filter(each => each.playState === 'running' || each.playState === 'pending')"
    console.page.wait_for_function(f"() => {moving}.length === 0", timeout=3000)


def test_states_and_lines_can_be_told_apart_in_the_colours_of_the_system(
    open_console: OpenConsole, blank: Process
) -> None:
    console = open_console(blank.url, forced_colors="active")
    page = console.page
    offer(page, watch("public.cats"))
    find(page, {"title": "cat"})
    send(page, [sample(MIDNIGHT + n, {"public.a.b": 1, "public.c.d": 2}) for n in range(2)])
    console.open("rows")
    style = "([selector, name]) => [...document.querySelectorAll(selector)].map(each => getComputedStyle(each)[name])"
    expect(page.locator(".plot canvas")).to_have_count(6)
    lines = page.evaluate(style, [".chart:nth-of-type(2) .legend .line", "borderTopColor"])
    assert len(set(lines)) == len(lines) == 2
    (dot,) = page.evaluate(style, [".headline .dot", "backgroundColor"])
    assert dot != page.evaluate("getComputedStyle(document.body).backgroundColor")
    links = page.evaluate(style, [".top nav a", "outlineStyle"])
    assert links == ["none", "solid", "none", "none", "none", "none"]
    console.open(text="cat")
    console.await_results("cat")
    page.get_by_role("switch", name="Vary").click()
    expect(page.get_by_role("switch", name="Vary")).to_be_checked()
    switches = page.evaluate(style, ["[role=switch]", "outlineStyle"])
    assert switches == ["none", "none", "solid"]


def test_midnight_is_the_first_hour_of_a_day_and_times_are_those_of_the_browser(
    open_console: OpenConsole, blank: Process
) -> None:
    console = open_console(blank.url, timezone_id="Asia/Kathmandu")
    page = console.page
    page.add_init_script(RECORD_TEXTS)
    midnight = MIDNIGHT - 5.75 * 3600
    send(page, [sample(midnight + n, {"public.a.b": 1}) for n in range(-1500, 1800, 5)])
    console.open("rows")
    expect(page.locator(".plot canvas")).to_have_count(6)
    page.wait_for_function("() => window.drawn.length > 0")
    times = {text for text in page.evaluate("window.drawn") if ":" in text}
    assert {"23:45", "00:15"} <= times, times
    assert not [text for text in times if text.startswith("24")]


def test_two_devices_may_be_used_for_more_than_one_second_per_second(open_console: OpenConsole, blank: Process) -> None:
    page = open_console(blank.url).page
    page.add_init_script(RECORD_TEXTS)
    send(page, [sample(MIDNIGHT + n, {}, query=2.0) for n in range(60)])
    page.goto(f"{blank.url}/#/rows")
    expect(page.locator(".plot canvas")).to_have_count(6)
    page.wait_for_function("() => window.drawn.includes('200 %')", timeout=5000)


def test_the_watches_that_have_most_to_do_are_drawn_where_there_are_many(
    open_console: OpenConsole, blank: Process
) -> None:
    page = open_console(blank.url).page
    waiting = {f"public.t{n}.v": 7000 if n == 40 else 0 for n in range(50)}
    send(page, [sample(MIDNIGHT + n, waiting) for n in range(3)])
    page.goto(f"{blank.url}/#/rows")
    chart = page.get_by_role("figure", name="Backlog")
    expect(chart.get_by_role("listitem")).to_have_count(4)
    expect(chart).to_contain_text("t40.v")
    expect(chart).to_contain_text("of 50 watches")


@pytest.mark.parametrize(("number", "written"), [("0.25", "0.25"), ("9.96", "9.96"), ("12345", "12.3K"), ("null", "–")])
def test_a_rate_below_one_is_not_none(open_console: OpenConsole, blank: Process, number: str, written: str) -> None:
    page = open_console(blank.url).open().page
    assert page.evaluate(f"import('/console/formats.js').then(({{ perSecond }}) => perSecond({number}))") == written


def test_the_head_of_the_page_never_covers_what_has_the_focus(open_console: OpenConsole, blank: Process) -> None:
    console: Console = open_console(blank.url, height=400)
    page = console.page
    offer(page, watch("public.cats"))
    find(page, *[{"title": f"cat {n}"} for n in range(24)])
    console.open(text="cat")
    console.await_results("cat 0")
    console.results.last.get_by_role("button").last.focus()
    top, head = "document.activeElement.getBoundingClientRect().top", "document.querySelector('.top')"
    covered = f"!{head}.contains(document.activeElement) && {top} < {head}.getBoundingClientRect().bottom"
    for _ in range(30):
        page.keyboard.press("Shift+Tab")
        assert not page.evaluate(covered), page.evaluate("document.activeElement.outerHTML")
