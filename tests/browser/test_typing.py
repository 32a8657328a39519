"""Text that is typed or selected stays while answers and live figures arrive."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import OpenConsole
from tests.browser.console import Console
from tests.integration.server.process import Process


@pytest.fixture
def console(open_console: OpenConsole, demo: Process) -> Console:
    return open_console(demo.url)


def test_a_rate_that_is_typed_outlives_the_next_live_figures(console: Console) -> None:
    held: list[Route] = []
    console.page.route("**/status", lambda route: held.append(route))  # noqa: PLW0108
    console.open("rows")
    console.page.get_by_role("button", name="Rate of").first.click()
    rate = console.page.get_by_role("spinbutton")
    rate.fill("250")
    status = held[0].fetch().json()
    status["watches"][0]["rows"] = 12_345
    held[0].fulfill(json=status)
    expect(console.page.locator(".numbers").first).to_contain_text("12,345")  # drawn again
    expect(rate).to_have_value("250")


def test_a_filter_that_is_typed_outlives_the_answer_to_the_search_before(console: Console) -> None:
    console.open(text="sad cat")
    console.await_results("crying cat")
    console.page.get_by_role("button", name="Add a filter").click()
    held: list[Route] = []
    console.page.route("**/search", lambda route: held.append(route))  # noqa: PLW0108 - Playwright takes no built-in
    with console.page.expect_request("**/search"):
        console.search("octopus")
    value = console.page.get_by_label("Value of filter 1")
    value.press_sequentially("Ani")
    held[0].continue_()
    console.page.unroute("**/search")
    console.await_results("octopus")
    expect(value).to_have_value("Ani")


def test_a_text_may_be_dropped_into_the_search(console: Console) -> None:
    console.open()
    prevented = console.page.get_by_role("searchbox").evaluate(
        """element => {
            const transfer = new DataTransfer();
            transfer.setData("text/plain", "cat");
            const options = { bubbles: true, cancelable: true, dataTransfer: transfer };
            return !element.dispatchEvent(new DragEvent("drop", options));
        }"""
    )
    assert not prevented
    expect(console.page.get_by_text("That is no picture")).to_have_count(0)


def test_a_file_that_is_no_picture_is_forgotten_with_the_next_search(console: Console) -> None:
    console.open()
    console.page.locator("input[type=file]").set_input_files(
        {"name": "a.txt", "mimeType": "text/plain", "buffer": b"x"}
    )
    expect(console.page.get_by_text("That is no picture")).to_be_visible()
    console.search("sad cat")
    console.await_results("crying cat")
    expect(console.page.get_by_text("That is no picture")).to_have_count(0)


def test_selecting_a_text_beyond_the_edge_of_a_dialog_leaves_it_open(console: Console) -> None:
    console.open(text="sad cat")
    console.await_results("crying cat")
    console.results.first.locator(".open").click()
    dialog = console.page.get_by_role("dialog")
    text, edge = dialog.locator("dd").first.bounding_box(), dialog.bounding_box()
    assert text is not None
    assert edge is not None
    mouse = console.page.mouse
    mouse.move(text["x"] + 5, text["y"] + 5)
    mouse.down()
    mouse.move(edge["x"] - 40, text["y"] + 5, steps=4)
    mouse.up()
    expect(dialog).to_be_visible()
    mouse.click(edge["x"] - 40, text["y"])
    expect(dialog).to_have_count(0)


def test_the_same_words_are_searched_for_again(console: Console) -> None:
    console.open(text="sad cat")
    console.await_results("crying cat")
    with console.page.expect_request("**/search"):
        console.search("sad cat")
    console.await_results("crying cat")


def test_a_page_that_failed_is_tried_again_below_the_rows_before(console: Console) -> None:
    console.open(text="sad cat")
    console.await_results("crying cat")
    console.page.route("**/search", lambda route: route.abort())
    console.page.get_by_role("button", name="Show more").click()
    expect(console.page.get_by_role("alert")).to_be_visible()
    expect(console.results).to_have_count(24)
    console.page.unroute("**/search")
    console.page.get_by_role("button", name="Try again").click()
    expect(console.results).to_have_count(48)
