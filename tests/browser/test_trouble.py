"""What the console shows where nothing is watched, nothing answers, or answers take long."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Route, expect

from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.operations.migrations import migrate
from tests.browser.conftest import OpenConsole, Toys, await_vectors
from tests.browser.test_keys import SQL
from tests.integration.server.process import Process
from tests.waiting import wait_until


def test_an_empty_database_says_how_to_begin_and_notices_the_first_watch(
    open_console: OpenConsole, toys: Toys, database_url: str
) -> None:
    console = open_console(toys(database_url).url).open()
    expect(console.page.get_by_role("heading", name="Nothing is watched yet")).to_be_visible()
    assert "select sidecar.watch(" in console.code("SQL")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
    await_vectors(database_url)
    console.page.get_by_role("button", name="Look again").click()
    console.search("green mug")
    console.await_results("green mug")


def test_a_watch_that_is_new_is_offered_when_one_comes_back_to_the_search(
    open_console: OpenConsole, demo: Process
) -> None:
    def without_the_last(route: Route) -> None:
        answer = route.fetch().json()
        route.fulfill(json={**answer, "watches": answer["watches"][:-1]})

    console = open_console(demo.url)
    console.page.route("**/watches", without_the_last)
    console.open()
    options = console.page.get_by_label("Search in").locator("option")
    expect(options).to_have_count(1)
    console.page.unroute("**/watches")
    console.page.get_by_role("link", name="Rows").click()
    console.page.get_by_role("link", name="Search").click()
    expect(options).to_have_count(2)


def test_without_a_database_the_screen_names_the_setting(open_console: OpenConsole, toys: Toys) -> None:
    console = open_console(toys("").url).open()
    expect(console.page.get_by_role("alert")).to_contain_text("DATABASE_URL is not set")


def test_a_stopped_database_is_reported_and_a_restarted_one_searched(
    open_console: OpenConsole, toys: Toys, open_tmp_path: Path, postgres_version: str
) -> None:
    settings = {"fsync": "off"}
    with EmbeddedPostgres(open_tmp_path / "data", postgres_version, settings=settings) as postgres:
        url = postgres.url
        migrate(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SQL)
        service = toys(url)
        state = open_console(service.url).open("rows").page.get_by_label("State of the service")
        expect(state).to_contain_text("up to date", ignore_case=True)
        console = open_console(service.url).open()
        console.search("green mug")
        console.await_results("green mug")
    expect(state).to_contain_text("When last read: ")
    console.search("red mug")
    expect(console.page.get_by_role("alert")).to_contain_text("database", ignore_case=True)
    port = int(url.rpartition(":")[2].partition("/")[0])
    with EmbeddedPostgres(open_tmp_path / "data", postgres_version, port=port, settings=settings):
        console.page.get_by_role("button", name="Try again").click()
        console.await_results("red mug")


def test_until_the_model_is_loaded_the_screen_says_so(open_console: OpenConsole, toys: Toys, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
    service = toys(database_url, encoder="never", await_ready=False)
    _await_answers(service)
    console = open_console(service.url).open()
    expect(console.page.get_by_text("The model is not loaded.")).to_be_visible()


def test_a_service_that_is_gone_is_named_and_can_be_tried_again(open_console: OpenConsole, demo: Process) -> None:
    console = open_console(demo.url).open()
    expect(console.page.get_by_role("searchbox")).to_be_visible()
    console.page.route("**/search", lambda route: route.abort())
    console.search("sad cat")
    expect(console.page.get_by_role("alert")).to_contain_text("The service does not answer.")
    console.page.unroute("**/search")
    console.page.get_by_role("button", name="Try again").click()
    console.await_results("crying cat")


def test_an_answer_of_a_proxy_is_told_from_the_services_own(open_console: OpenConsole, demo: Process) -> None:
    console = open_console(demo.url).open()
    page = {"status": 502, "content_type": "text/html", "body": "<h1>Bad gateway</h1>"}
    console.page.route("**/search", lambda route: route.fulfill(**page))
    console.search("sad cat")
    expect(console.page.get_by_role("alert")).to_contain_text("HTTP 502, and not from the service")


def test_a_slow_answer_is_waited_for_and_never_replaces_a_newer_one(open_console: OpenConsole, demo: Process) -> None:
    console = open_console(demo.url).open()
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if "sad cat" in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    console.page.route("**/search", hold_the_first)
    console.search("sad cat")
    expect(console.page.get_by_text("Searching …")).to_be_visible()
    console.search("octopus")
    console.await_results("octopus")
    held[0].abort()
    console.page.unroute("**/search")
    expect(console.results.first).to_contain_text("octopus")
    expect(console.page.get_by_role("alert")).to_have_count(0)


def test_an_address_that_is_no_screen_leads_back(open_console: OpenConsole, demo: Process) -> None:
    console = open_console(demo.url).open("nowhere")
    console.page.get_by_role("main").get_by_role("link", name="Search").click()
    expect(console.page.get_by_role("searchbox")).to_be_visible()


@pytest.mark.parametrize(
    "fields", [{"like": "{"}, {"like": "7"}, {"filter": "[[1]]"}, {"filter": "null"}, {"watch": "x"}], ids=str
)
def test_a_damaged_address_is_read_as_far_as_it_goes(
    open_console: OpenConsole, demo: Process, fields: dict[str, str]
) -> None:
    console = open_console(demo.url).open(text="sad cat", **fields)
    console.await_results("crying cat")


def test_an_address_with_a_watch_or_a_column_that_is_not_there_says_what_is_searched(
    open_console: OpenConsole, demo: Process
) -> None:
    console = open_console(demo.url).open(
        text="sad cat", watch="public.gone.e", filter='[["colour", "equal", "red", ""]]'
    )
    console.await_results("crying cat")
    said = console.page.get_by_text("public.gone.e cannot be searched: there is no such watch")
    expect(said).to_contain_text("This is public.emoji.picture_embedding.")
    expect(console.page.get_by_text("Not all filters of this address are applied")).to_contain_text("colour")


def _await_answers(service: Process) -> None:
    wait_until(lambda: service.ask("/livez") == 200, lambda: f"/livez\n{service.log}")
