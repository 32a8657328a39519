"""Between the page and the service: proxies that ask for a sign-in or keep answers back, and connections that break."""

from __future__ import annotations

import signal

import psycopg
import pytest
from playwright.sync_api import Error, Route, expect

from tests.browser.conftest import OpenConsole, Toys
from tests.browser.made_up import watch
from tests.browser.test_keys import SQL
from tests.integration.server.process import Process

LIVE_NO_MORE = "No live figures at the moment."


@pytest.fixture
def service(toys: Toys, database_url: str) -> Process:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
    return toys(database_url)


def test_the_cookies_of_a_proxy_with_a_sign_in_are_sent(open_console: OpenConsole, service: Process) -> None:
    console = open_console(service.url)
    console.page.context.add_cookies([{"name": "session", "value": "x", "url": service.url}])
    with console.page.expect_request("**/watches") as asked:
        console.open()
    assert asked.value.all_headers().get("cookie") == "session=x"


def test_a_page_to_sign_in_that_comes_instead_of_an_answer_is_told_from_it(
    open_console: OpenConsole, service: Process
) -> None:
    console = open_console(service.url)
    sign_in = {"content_type": "text/html", "body": "<!doctype html><form>Sign in</form>"}
    console.page.route("**/watches", lambda route: route.fulfill(**sign_in))
    console.open()
    expect(console.page.get_by_role("alert")).to_contain_text("not from the service: look at the proxy")


def test_a_proxy_that_leads_to_a_sign_in_elsewhere_is_named(open_console: OpenConsole, service: Process) -> None:
    console = open_console(service.url)
    elsewhere = {"location": "https://sign-in.example/"}
    console.page.route("**/watches", lambda route: route.fulfill(status=302, headers=elsewhere))
    console.open()
    expect(console.page.get_by_role("alert")).to_contain_text("may want you to sign in again")


def test_a_proxy_that_keeps_all_events_back_is_noticed_and_the_state_is_read_without_them(
    open_console: OpenConsole, service: Process, database_url: str
) -> None:
    console = open_console(service.url)
    page, held = console.page, list[Route]()
    page.clock.install()
    page.route("**/events", lambda route: held.append(route))  # noqa: PLW0108 - Playwright takes no built-in
    console.open("rows")
    state = page.get_by_role("list", name="Watches")
    expect(state).to_contain_text("mugs.title_embedding")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("select sidecar.pause('mugs')")
    page.clock.run_for(46_000)
    expect(page.get_by_text(LIVE_NO_MORE)).to_contain_text("a proxy in between may keep events back")
    expect(state).to_contain_text("paused")
    expect(page.get_by_text("When last read:")).to_have_count(0)


def test_a_connection_that_breaks_is_told_in_words(open_console: OpenConsole, service: Process) -> None:
    page = open_console(service.url).open("rows").page
    expect(page.locator(".plot canvas")).to_have_count(6)
    service.stop(signal.SIGKILL)
    expect(page.get_by_text(LIVE_NO_MORE)).to_contain_text("The connection broke.")
    expect(page.get_by_role("list", name="Watches")).to_contain_text("mugs.title_embedding")


def test_the_state_stays_where_it_cannot_be_read_again_but_events_arrive(
    open_console: OpenConsole, service: Process
) -> None:
    console = open_console(service.url)
    page, held = console.page, list[Route]()
    page.route("**/status", lambda route: held.append(route))  # noqa: PLW0108
    console.open("rows")
    expect(page.get_by_role("list", name="Watches")).to_contain_text("mugs.title_embedding")  # from the events
    held[0].abort()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("list", name="Watches")).to_contain_text("mugs.title_embedding")


def test_tabs_in_the_background_leave_the_connections_of_the_browser_to_others(
    open_console: OpenConsole, service: Process
) -> None:
    """A browser has six to a host, and each stream of events keeps one."""
    console = open_console(service.url)
    context = console.page.context
    context.add_init_script('Object.defineProperty(document, "hidden", { get: () => window.isHidden === true })')
    for page in [console.page, *(context.new_page() for _ in range(5))]:
        page.goto(console.address("rows"))
        expect(page.locator(".plot canvas")).to_have_count(6)
        page.evaluate('window.isHidden = true; document.dispatchEvent(new Event("visibilitychange"))')
    another = context.new_page()
    try:
        another.goto(console.address(text="green mug"), timeout=15_000)
    except Error as error:
        pytest.fail(f"no connection is left: {error}")
    expect(another.get_by_role("list", name="Results")).to_contain_text("green mug")
    page.evaluate('window.isHidden = false; document.dispatchEvent(new Event("visibilitychange"))')
    expect(page.get_by_text(LIVE_NO_MORE)).to_have_count(0)


@pytest.mark.parametrize("screen", ["doctor", "search", "map"])
def test_an_answer_of_another_version_takes_one_screen_and_not_the_others(
    open_console: OpenConsole, service: Process, screen: str
) -> None:
    console = open_console(service.url)
    page = console.page
    page.route("**/doctor", lambda route: route.fulfill(json={}))
    page.route("**/map?*", lambda route: route.fulfill(json={}))
    if screen == "search":
        page.route("**/watches", lambda route: route.fulfill(json={"watches": [{**watch("a"), "columns": None}]}))
    console.open(screen, text="mug")
    expect(page.get_by_role("alert")).to_contain_text("may have another version since this page was loaded")
    page.get_by_role("link", name="Add").click()
    expect(page.get_by_role("heading", name="Add a watch")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    assert len(console.problems) == 1
    console.problems.clear()


def test_a_chart_whose_library_does_not_come_says_so(open_console: OpenConsole, service: Process) -> None:
    console = open_console(service.url)
    console.page.route("**/vendor/uPlot.js", lambda route: route.abort())
    console.open("rows")
    expect(console.page.get_by_text("The chart could not be loaded")).to_have_count(6)
