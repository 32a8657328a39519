"""Answers that arrive late, and what was shown before, are never taken for the answer to something else."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import OpenConsole, Toys
from tests.browser.console import Console
from tests.browser.made_up import find, found, offer, watch
from tests.browser.test_add import TABLES
from tests.integration.server.process import Process

PICTURES = {"kind": "image", "source": ["photo"], "has_thumbnails": True}
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9" /></svg>'
CATS, DOGS = watch("public.cats", **PICTURES), watch("public.dogs", **PICTURES)


@pytest.fixture
def console(open_console: OpenConsole, blank: Process) -> Console:
    return open_console(blank.url)


def points(amount: int) -> dict[str, Any]:
    """The answer of the map."""
    rows = [{"key": {"id": n}, "label": f"row {n}", "x": n % 30, "y": n // 30} for n in range(amount)]
    return {"points": rows, "shares": [0.5, 0.25]}


def test_rows_of_one_watch_are_never_shown_as_those_of_another(console: Console) -> None:
    page, held, thumbnails = console.page, list[Route](), list[str]()

    def answer(route: Route) -> None:
        if (route.request.post_data_json or {})["table"] == "public.dogs":
            held.append(route)
        else:
            route.fulfill(json=found({"title": "cat"}))

    def thumbnail(route: Route) -> None:
        thumbnails.append(parse_qs(urlsplit(route.request.url).query)["table"][0])
        route.fulfill(status=404, json={"error": {"code": "not_found", "message": "No."}})

    offer(page, CATS, DOGS)
    page.route("**/search", answer)
    page.route("**/thumbnail?*", thumbnail)
    console.open(text="black", watch=CATS["watch"])
    console.await_results("cat")
    page.get_by_label("Search in").select_option(DOGS["watch"])
    expect(page.get_by_text("Searching …")).to_be_visible()
    expect(console.results).to_have_count(0)
    assert set(thumbnails) == {"public.cats"}
    held[0].fulfill(json=found({"title": "dog"}))
    console.await_results("dog")


def test_back_closes_a_row_of_the_search_that_is_left(console: Console) -> None:
    offer(console.page, watch("public.cats"))
    find(console.page, {"title": "cat"}, {"title": "lion"})
    console.open(text="one")
    console.await_results("cat")
    console.search("two")
    console.await_results("cat")
    console.page.get_by_role("button", name="cat", exact=True).click()
    expect(console.page.get_by_role("dialog")).to_be_visible()
    console.page.go_back()
    expect(console.page.get_by_role("searchbox")).to_have_value("one")
    expect(console.page.get_by_role("dialog")).to_have_count(0)


def test_another_sample_that_comes_late_does_not_replace_a_later_one(console: Console) -> None:
    page, held, answered = console.page, list[Route](), list[int]()

    def answer(route: Route) -> None:
        rows = int(parse_qs(urlsplit(route.request.url).query)["rows"][0])
        answered.append(rows)
        if answered == [500, 500]:
            held.append(route)
        else:
            route.fulfill(json=points(rows))

    offer(page, watch("public.cats"))
    page.route("**/map?*", answer)
    console.open("map")
    circles = page.get_by_role("application").locator("circle")
    expect(circles).to_have_count(500)
    page.get_by_role("button", name="Another sample").click()
    page.get_by_role("combobox", name="Rows").select_option("200")
    expect(circles).to_have_count(200)
    held[0].fulfill(json=points(500))
    console.await_drawing()
    expect(circles).to_have_count(200)


def test_a_row_that_is_chosen_on_the_map_is_forgotten_with_its_sample(console: Console) -> None:
    page = console.page
    offer(page, watch("public.cats"))
    sizes = [500, 200]
    page.route("**/map?*", lambda route: route.fulfill(json=points(sizes.pop(0))))
    console.open("map")
    plane = page.get_by_role("application")
    expect(plane.locator("circle")).to_have_count(500)
    plane.focus()
    page.keyboard.press("ArrowRight")  # row 480
    expect(plane.locator(".chosen")).to_have_count(1)
    page.get_by_role("combobox", name="Rows").select_option("200")
    expect(plane.locator("circle")).to_have_count(200)


def test_the_sql_of_a_plan_is_that_of_the_columns_that_are_chosen(
    open_console: OpenConsole, toys: Toys, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(TABLES.encode())
    console = open_console(toys(database_url).url)
    page, asked = console.page, list[Route]()

    def answer(route: Route) -> None:
        asked.append(route)
        if len(asked) == 1:
            route.abort()
        elif len(asked) > 2:
            route.continue_()

    page.route("**/plan", answer)
    console.open("add", table="public.notes", source='["title"]')
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("Looking at the rows")).to_be_visible()
    page.get_by_label("body text, text").check()
    sql = page.get_by_role("region", name="SQL that starts the watch")
    expect(sql).to_contain_text("body")
    late = asked[1].fetch()
    asked[1].fulfill(response=late)
    console.await_drawing()
    expect(sql).to_contain_text("body")


@pytest.mark.parametrize(
    "condition",
    [["gone", "equal", "1", ""], ["title", "constructor", "1", ""], ["title", "between", "1", "2"]],
    ids=["a column", "no comparison", "a comparison of other types"],
)
def test_a_filter_of_an_old_link_that_is_not_applied_is_not_shown_as_if_it_were(
    console: Console, condition: list[str]
) -> None:
    offer(console.page, watch("public.cats"))
    find(console.page, {"title": "cat"})
    with console.page.expect_request("**/search") as asked:
        console.open(text="cat", filter=json.dumps([condition, ["title", "prefix", "c", ""]]))
    assert (asked.value.post_data_json or {})["filter"] == {"title": {"$prefix": "c"}}
    console.await_results("cat")
    expect(console.page.get_by_label("Column of filter 2")).to_have_count(0)
    expect(console.page.get_by_text("Not all filters of this address are applied")).to_contain_text(condition[0])


def test_a_column_may_have_a_name_that_javascript_knows(console: Console) -> None:
    names = ["constructor", "__proto__", "toString", "hasOwnProperty"]
    hidden = [{"name": "valueOf", "type": "bytea", "comparable": True}]
    columns = [{"name": name, "type": "text", "comparable": True} for name in names]
    offer(console.page, watch("public.cats", source=["constructor"], columns=[*columns, *hidden]))
    find(console.page, {name: f"a cat in {name}" for name in names})
    console.open(text="cat", filter=json.dumps([["__proto__", "equal", "x", ""]]))
    console.await_results("a cat in constructor")
    for name in names:
        expect(console.results.first).to_contain_text(f"a cat in {name}")
    expect(console.results.first).not_to_contain_text("native code")


def test_a_question_mark_in_an_address_that_was_decoded_on_its_way_is_kept(console: Console) -> None:
    offer(console.page, watch("public.cats"))
    find(console.page, {"title": "cat"})
    console.page.goto(f"{console.url}/#/search?text=a cat? yes")
    console.await_results("cat")
    expect(console.page.get_by_role("searchbox")).to_have_value("a cat? yes")


def test_a_picture_is_asked_for_again_where_the_service_was_too_busy(console: Console) -> None:
    page, asked = console.page, list[Route]()

    def thumbnail(route: Route) -> None:
        asked.append(route)
        if len(asked) == 1:
            busy = {"error": {"code": "overloaded", "message": "Too many pictures at once."}}
            route.fulfill(status=503, headers={"Retry-After": "1"}, json=busy)
        else:
            route.fulfill(content_type="image/svg+xml", body=PICTURE)

    offer(page, CATS)
    find(page, {"title": "cat"})
    page.route("**/thumbnail?*", thumbnail)
    console.open(text="cat")
    expect(console.results.first.locator("img")).to_be_visible()
    assert len(asked) == 2


def test_letters_that_are_typed_quickly_are_all_kept_while_tables_are_looked_for(console: Console) -> None:
    page = console.open("add").page
    box = page.get_by_role("searchbox")
    box.press_sequentially("public.a_long_name_of_a_table_that_is_typed_at_once")
    expect(page.get_by_role("heading", name="No table is found")).to_be_visible()
    expect(box).to_have_value("public.a_long_name_of_a_table_that_is_typed_at_once")
