"""The map: points, the row that one of them stands for, and the way to rows like it."""

from __future__ import annotations

import psycopg
from playwright.sync_api import expect

from tests.browser.conftest import OpenConsole, Toys
from tests.browser.test_keys import SQL
from tests.integration.server.process import Process


def test_the_arrow_keys_go_from_row_to_row_and_the_pointer_chooses_one(
    open_console: OpenConsole, demo: Process
) -> None:
    page = open_console(demo.url).open("map", rows="200").page
    plane, row = page.get_by_role("application"), page.get_by_role("complementary", name="The row")
    expect(plane.locator("circle")).to_have_count(200)
    plane.focus()
    page.keyboard.press("ArrowRight")
    first = row.inner_text()
    page.keyboard.press("ArrowRight")
    expect(plane.locator(".chosen")).to_have_count(1)
    assert row.inner_text() != first
    page.keyboard.press("ArrowLeft")
    expect(row).to_have_text(first, use_inner_text=True)
    plane.locator("circle").nth(7).hover(force=True)
    expect(row.locator("img")).to_be_visible()


def test_a_row_of_the_map_leads_to_a_search_for_rows_like_it(open_console: OpenConsole, demo: Process) -> None:
    console = open_console(demo.url).open("map", watch="public.emoji.name_embedding")
    plane = console.page.get_by_role("application")
    plane.focus()
    console.page.keyboard.press("ArrowRight")
    console.page.get_by_role("link", name="More like this").click()
    console.await_results()
    assert len(console.names) > 1


def test_another_watch_and_another_number_of_rows_are_drawn_at_once(open_console: OpenConsole, demo: Process) -> None:
    page = open_console(demo.url).open("map").page
    expect(page.get_by_role("application").locator("circle")).to_have_count(500)
    page.get_by_role("combobox", name="Rows").select_option("200")
    expect(page.get_by_role("application").locator("circle")).to_have_count(200)
    page.get_by_role("combobox", name="Watch").select_option("public.emoji.name_embedding")
    expect(page).to_have_url(f"{demo.url}/#/map?watch=public.emoji.name_embedding&rows=200")
    expect(page.get_by_role("application").locator("circle")).to_have_count(200)


def test_where_nothing_is_watched_or_has_a_vector_the_screen_says_so(
    open_console: OpenConsole, toys: Toys, database_url: str
) -> None:
    service = toys(database_url, INGEST="0")
    page = open_console(service.url).open("map").page
    expect(page.get_by_role("heading", name="Nothing is watched yet")).to_be_visible()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
    page.reload()
    expect(page.get_by_role("heading", name="No vectors yet")).to_be_visible()
