"""The rows of each watch, which follow what happens."""

from __future__ import annotations

import psycopg
from playwright.sync_api import Route, expect

from tests.browser.conftest import ROWS, OpenConsole, Toys
from tests.browser.test_keys import KEY, SQL, give
from tests.integration.server.process import Process

MORE = "insert into mugs select n, 'mug ' || n from generate_series(10, 29) n"


def test_each_watch_is_shown_with_what_is_done_and_six_charts(open_console: OpenConsole, demo: Process) -> None:
    console = open_console(demo.url).open("rows")
    cards = console.page.get_by_role("list", name="Watches").locator("> li")
    expect(cards).to_have_count(2)
    expect(cards.first).to_contain_text("100 %")
    expect(cards.first).to_contain_text(f"{ROWS}")
    expect(console.page.locator(".plot canvas")).to_have_count(6)


def test_new_rows_are_counted_without_a_reload(open_console: OpenConsole, toys: Toys, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
        console = open_console(toys(database_url, API_KEYS=f"{KEY},search:{KEY}-that-only-searches").url).open("rows")
        give(console, f"{KEY}-that-only-searches")
        expect(console.page.get_by_role("alert").first).to_contain_text("The key lacks the scope `admin`")
        console.page.get_by_role("button", name="Use another key").click()
        give(console, KEY)
        expect(console.page.get_by_role("list", name="Watches")).to_contain_text("mugs.title_embedding")
        connection.execute(MORE)
        expect(console.page.locator(".numbers").get_by_text("23")).to_be_visible()


def test_a_connection_that_breaks_is_made_again(open_console: OpenConsole, demo: Process) -> None:
    console = open_console(demo.url)
    asked: list[Route] = []

    def break_the_first(route: Route) -> None:
        asked.append(route)
        if len(asked) == 1:
            route.abort()
        else:
            route.continue_()

    console.page.route("**/events", break_the_first)
    console.open("rows")
    expect(console.page.get_by_text("No live figures at the moment.")).to_be_visible()
    expect(console.page.locator(".plot canvas")).to_have_count(6)
    expect(console.page.get_by_text("No live figures at the moment.")).to_have_count(0)
    assert len(asked) == 2


def test_what_was_read_of_a_service_that_is_gone_is_shown_as_old(
    open_console: OpenConsole, toys: Toys, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
    service = toys(database_url)
    page = open_console(service.url).open("rows").page
    state = page.get_by_label("State of the service")
    expect(state).to_contain_text("up to date", ignore_case=True)
    service.stop()
    expect(state).to_contain_text("When last read: ")
    expect(state.locator(".dot.ok")).to_have_count(0)


def test_a_broken_watch_says_what_is_wrong_and_takes_nothing_from_the_others(
    open_console: OpenConsole, toys: Toys, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
        connection.execute("create table cups (id int primary key, title text)")
        connection.execute("select sidecar.watch('cups', 'title', expose => array['title'])")
        console = open_console(toys(database_url).url).open("rows")
        cards = console.page.get_by_role("list", name="Watches").locator("> li")
        expect(cards).to_have_count(2)
        connection.execute("alter table cups drop constraint cups_pkey")
        connection.execute("insert into cups values (1, 'cup')")
        expect(cards.filter(has_text="cups")).to_contain_text("broken")
        expect(cards.filter(has_text="mugs")).not_to_contain_text("broken")
        console.open()
        console.search("green mug")
        console.await_results("green mug")


def test_a_hundred_thousand_rows_are_counted_and_other_tables_are_searched_meanwhile(
    open_console: OpenConsole, toys: Toys, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
        connection.execute("create table many (id int primary key, title text)")
        connection.execute("insert into many select n, 'mug ' || n from generate_series(1, 100000) n; analyze many")
        connection.execute("select sidecar.watch('many', 'title', expose => array['title'], index => 'none')")
        console = open_console(toys(database_url).url).open("rows")
        many = console.page.get_by_role("list", name="Watches").locator("> li").filter(has_text="many")
        expect(many).to_contain_text("100,000")
        console.open(watch="public.mugs.title_embedding", text="green mug")
        console.await_results("green mug")
        console.open("rows")
        expect(many.locator(".numbers").get_by_text("/s")).to_be_visible()
        connection.execute("select sidecar.pause('many')")
        expect(many).to_contain_text("paused")
