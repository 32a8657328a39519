"""More failures than one page shows, slow answers, and retries that are refused; the answers are made up."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import OpenConsole
from tests.browser.console import Console
from tests.integration.server.process import Process

REASON = {"reason": "decode_timeout", "rows": 900, "advice": "Try again.", "retry_helps": True}
_ROW = {"table": "public.emoji", "target": "picture_embedding", "reason": "decode_timeout", "message": "slow"}


@pytest.fixture
def console(open_console: OpenConsole, demo: Process) -> Console:
    return open_console(demo.url)


def answer(route: Route) -> None:
    limit = int(parse_qs(urlsplit(route.request.url).query)["limit"][0])
    rows = [{**_ROW, "key": {"id": key}, "at": "2026-01-01T00:00:00Z", "attempts": 1} for key in range(limit)]
    route.fulfill(json={"reasons": [REASON], "failures": rows, "next": "x"})


def test_where_no_more_rows_are_shown_no_button_promises_them(console: Console) -> None:
    console.page.route("**/failures?*", answer)
    console.open("failures")
    rows = console.page.get_by_role("list", name="Failed rows").locator("> li")
    for shown in range(100, 501, 50):
        console.page.get_by_role("button", name="Show more").click()
        expect(rows).to_have_count(shown)
    expect(console.page.get_by_role("button", name="Show more")).to_have_count(0)
    expect(console.page.get_by_text("No more than 500 are shown.")).to_be_visible()


def test_all_rows_of_a_reason_are_those_of_every_watch_and_counted_together(console: Console) -> None:
    asked: list[Any] = []

    def with_failures(route: Route) -> None:
        status = route.fetch().json()
        for watch in status["watches"]:
            watch["failed"] = 450
        route.fulfill(json=status)

    def retry(route: Route) -> None:
        asked.append(route.request.post_data_json)
        route.fulfill(json={"rows": 450})

    console.page.route("**/failures?*", answer)
    console.page.route("**/status", with_failures)
    console.page.route("**/retry", retry)
    console.open("failures")
    console.page.get_by_role("button", name="Retry all").click()
    expect(console.page.get_by_role("status").get_by_text("900 rows will be tried again.")).to_have_count(1)
    assert sorted(each["target"] for each in asked) == ["name_embedding", "picture_embedding"]
    assert {each["reason"] for each in asked} == {"decode_timeout"}


def test_a_refused_retry_is_told_until_the_next(console: Console) -> None:
    console.page.route("**/failures?*", answer)
    refusal = {"error": {"code": "overloaded", "message": "Not now."}}
    console.page.route("**/retry", lambda route: route.fulfill(status=503, json=refusal))
    console.open("failures")
    console.page.get_by_role("button", name="Retry id 1 of").click()
    expect(console.page.get_by_role("alert")).to_contain_text("Not now.")
    with console.page.expect_response("**/failures?*"):  # five seconds later
        pass
    with console.page.expect_response("**/failures?*"):
        pass
    expect(console.page.get_by_role("alert")).to_contain_text("Not now.")
    console.page.unroute("**/retry")
    console.page.route("**/retry", lambda route: route.fulfill(json={"rows": 1}))
    console.page.get_by_role("button", name="Try again").click()
    expect(console.page.get_by_role("alert")).to_have_count(0)


def test_a_slow_list_never_replaces_one_that_was_asked_for_later(console: Console) -> None:
    held: list[Route] = []
    console.page.route(
        "**/failures?*", lambda route: held.append(route) if "limit=100" in route.request.url else answer(route)
    )
    console.open("failures")
    console.page.get_by_role("button", name="Show more").click()
    console.page.get_by_role("button", name="decode timeout").click()
    expect(console.page.get_by_role("button", name="decode timeout")).to_have_attribute("aria-pressed", "true")
    rows = console.page.get_by_role("list", name="Failed rows").locator("> li")
    expect(rows).to_have_count(50)
    held[0].abort()
    console.page.wait_for_function("() => true")
    expect(rows).to_have_count(50)
    expect(console.page.get_by_role("alert")).to_have_count(0)


def test_a_key_that_is_not_given_is_not_asked_for_again_by_itself(console: Console) -> None:
    refusal = {"error": {"code": "unauthorized", "message": "Send a key."}}
    asked: list[Route] = []

    def refuse(route: Route) -> None:
        asked.append(route)
        route.fulfill(status=401, json=refusal)

    console.page.clock.install()
    console.page.route("**/failures?*", refuse)
    console.open("failures")
    expect(console.page.get_by_role("dialog")).to_be_visible()
    console.page.keyboard.press("Escape")
    expect(console.page.get_by_role("alert")).to_contain_text("Send a key.")
    console.page.clock.run_for(20_000)
    assert len(asked) == 1
    expect(console.page.get_by_role("dialog")).to_have_count(0)
