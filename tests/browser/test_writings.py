"""Texts of other writings, very long ones, and pictures instead of letters. Answers are made up."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenConsole
from tests.browser.console import Console
from tests.browser.made_up import find, offer, watch
from tests.integration.server.process import Process

DIRECTION = "element => getComputedStyle(element).direction"
TEXTS = [{"name": name, "type": "text", "comparable": True} for name in ("title", "body")]


@pytest.fixture
def console(open_console: OpenConsole, blank: Process) -> Console:
    console = open_console(blank.url)
    offer(console.page, watch("public.cats", source=["title", "body"], columns=TEXTS))
    return console


def test_texts_that_are_written_from_the_right_begin_there(console: Console) -> None:
    find(console.page, {"title": "قطة سوداء!", "body": "قطة (سوداء) جميلة."})
    console.open()
    console.search("قطة سوداء!")
    console.await_results("قطة")
    for part in (console.results.first.get_by_role("button").first, console.results.locator(".passage")):
        assert part.evaluate(DIRECTION) == "rtl"
    assert console.page.get_by_role("searchbox").evaluate(DIRECTION) == "rtl"
    console.results.first.get_by_role("button").first.click()
    dialog = console.page.get_by_role("dialog")
    assert dialog.get_by_role("heading").evaluate(DIRECTION) == "rtl"
    assert dialog.locator("dd", has_text="جميلة").evaluate(DIRECTION) == "rtl"
    assert dialog.locator("dd").first.evaluate(DIRECTION) == "ltr"


@pytest.mark.parametrize(
    ("body", "query"),
    [
        ("あ" * 1500 + "黒猫" + "い" * 600, "黒猫"),
        ("x" * 1000 + " a cat " + "y" * 1000, "cat"),
        ("x" * 1000 + "-cat" + "y" * 900 + " end", "cat"),
    ],
    ids=["without spaces", "between long words", "in a long word"],
)
def test_a_long_text_is_cut_around_the_words_of_the_query(console: Console, body: str, query: str) -> None:
    find(console.page, {"title": "a title", "body": body})
    console.open(text=query)
    expect(console.results.locator(".passage mark")).to_have_text(query)


@pytest.mark.parametrize("before", [0, 1])
def test_no_character_is_cut_in_two(console: Console, before: int) -> None:
    body = "a" * before + "🐈" * 900
    others = [{"name": "note", "type": "text", "comparable": True}]
    offer(console.page, watch("public.cats", source=["title", "body"], columns=[*TEXTS, *others]))
    find(console.page, {"title": "a title", "body": body, "note": body})
    console.open(text="zebra")
    console.await_results("a title")
    assert console.results.first.evaluate("element => element.textContent.isWellFormed()")
