"""Searches on the rows of the demo, with its model."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import FilePayload, expect

from sidecar.demo.emoji import read_emoji
from tests.browser.conftest import OpenConsole
from tests.browser.console import Console
from tests.integration.server.process import Process

NAMES = "public.emoji.name_embedding"


@pytest.fixture
def console(open_console: OpenConsole, demo: Process) -> Console:
    return open_console(demo.url).open()


@pytest.fixture
def picture() -> FilePayload:
    """The picture of an emoji, in a file whose name wants quoting."""
    octopus = next(each for each in read_emoji() if each.name == "octopus")
    return {"name": "it's an octopus.webp", "mimeType": "image/webp", "buffer": octopus.picture}


@pytest.fixture
def sql(demo_database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(demo_database_url, autocommit=True) as connection:
        yield connection


def test_words_find_pictures(console: Console) -> None:
    console.search("sad cat")
    console.await_results("crying cat")
    assert sum("cat" in name for name in console.names) > 8
    assert len(console.names) == 24
    picture = console.results.first.locator("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 50


def test_the_examples_of_the_demo_are_searches(console: Console) -> None:
    console.page.get_by_role("button", name="sad cat").click()
    console.await_results("crying cat")
    assert "text=sad+cat" in console.page.url
    console.page.go_back()
    expect(console.page.get_by_role("heading", name="Find rows by what they mean")).to_be_visible()


def test_texts_have_the_words_of_the_query_marked(console: Console) -> None:
    console.open(watch=NAMES, text="sad cat")
    console.await_results("crying cat")
    assert console.results.first.locator("mark").all_inner_texts() == ["cat"]


def test_more_like_a_row_finds_its_neighbours_and_not_itself(console: Console) -> None:
    console.open(text="octopus")
    console.await_results("octopus")
    console.results.first.hover()
    console.page.get_by_role("button", name="More like octopus").click()
    expect(console.page.get_by_role("button", name="Remove like id")).to_be_visible()
    expect(console.page.locator("section.found:not(.fading)")).to_be_visible()
    expect(console.results.first).not_to_contain_text("octopus")
    assert "octopus" not in console.names


def test_a_chosen_picture_is_searched_by_and_taken_away(console: Console, picture: FilePayload) -> None:
    console.page.locator("input[type=file]").set_input_files(picture)
    console.await_results("octopus")
    console.page.get_by_role("button", name="Remove it's an octopus.webp").click()
    expect(console.page.get_by_role("heading", name="Find rows by what they mean")).to_be_visible()


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_may_be_dropped_or_pasted(console: Console, picture: FilePayload, way: str) -> None:
    expect(console.page.get_by_role("searchbox")).to_be_visible()
    console.page.evaluate(
        """([way, name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/webp" }));
            const options = { bubbles: true, cancelable: true };
            const event = way === "paste" ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
                                          : new DragEvent("drop", { ...options, dataTransfer: transfer });
            document.body.dispatchEvent(event);
        }""",
        [way, picture["name"], list(picture["buffer"])],
    )
    console.await_results("octopus")


def test_a_file_that_is_no_picture_is_refused_with_a_reason(console: Console) -> None:
    file: FilePayload = {"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"}
    console.page.locator("input[type=file]").set_input_files(file)
    expect(console.page.get_by_text("That is no picture")).to_be_visible()


def test_filters_of_each_kind_leave_out_other_rows(console: Console) -> None:
    console.open(text="sad cat")
    console.await_results("crying cat")
    console.page.get_by_role("button", name="Add a filter").click()
    console.page.get_by_label("Column of filter 1").select_option("category")
    console.page.get_by_label("Value of filter 1").fill("Animals & Nature")
    console.page.keyboard.press("Tab")
    expect(console.results.first).not_to_contain_text("crying cat")
    console.page.get_by_role("button", name="Add a filter").click()
    console.page.get_by_label("Column of filter 2").select_option("id")
    console.page.get_by_label("Comparison of filter 2").select_option("between")
    console.page.get_by_label("Value of filter 2", exact=True).fill("320")
    console.page.get_by_label("Upper value of filter 2").fill("330")
    console.page.keyboard.press("Tab")
    expect(console.page.get_by_text("11 rows in")).to_be_visible()
    console.page.get_by_role("button", name="Remove filter 1").click()
    expect(console.page.get_by_label("Column of filter 2")).to_have_count(0)


@pytest.mark.parametrize("switch", ["Match words", "Rerank", "Vary"])
def test_each_switch_changes_the_request_and_shows_its_stage(console: Console, switch: str) -> None:
    console.open(watch=NAMES, text="sad cat")
    console.await_results()
    console.page.get_by_role("switch", name=switch).click()
    expect(console.page.get_by_role("switch", name=switch)).to_be_checked()
    console.await_results()
    console.page.get_by_text("This search in SQL and curl").click()
    option, stage = {
        "Match words": ("hybrid", "database"), "Rerank": ("rerank", "reranked"), "Vary": ("diversity", "varied"),
    }[switch]  # fmt: skip
    expect(console.page.locator(".stages").get_by_text(stage)).to_be_visible()
    assert f'"{option}":' in console.code("curl")


@pytest.mark.parametrize("varied", ["", "1"])
def test_more_rows_are_shown_below_and_none_twice(console: Console, varied: str) -> None:
    console.open(text="sad cat", varied=varied)
    console.await_results()
    for rows in (48, 72):
        console.page.get_by_role("button", name="Show more").click()
        expect(console.results).to_have_count(rows)
    labels = console.page.locator(".picture-result .open").evaluate_all("all => all.map(each => each.ariaLabel)")
    assert len(labels) == 72


def test_a_row_opens_with_all_that_it_shows_and_the_focus_comes_back(console: Console) -> None:
    console.open(text="sad cat")
    console.await_results()
    opener = console.page.get_by_role("button", name="crying cat: all of the row")
    opener.focus()
    console.page.keyboard.press("Enter")
    dialog = console.page.get_by_role("dialog", name="crying cat")
    expect(dialog.get_by_text("cat, cry, face, sad, tear")).to_be_visible()
    console.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()


def test_the_curl_command_finds_the_same_rows(console: Console, picture: FilePayload, tmp_path: Path) -> None:
    for load in (lambda: console.open(text='it\'s a "sad" cat'), lambda: _choose(console, picture)):
        load()
        console.await_results()
        shown = console.names
        console.page.get_by_text("This search in SQL and curl").click()
        (tmp_path / picture["name"]).write_bytes(picture["buffer"])
        command = console.code("curl")
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S602
        found = json.loads(done.stdout)["results"]
        assert [row["columns"]["name"] for row in found] == shown


def _choose(console: Console, picture: FilePayload) -> None:
    console.open()
    console.page.locator("input[type=file]").set_input_files(picture)


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "it's a sad cat"},
        {"text": "sad cat", "filter": json.dumps([["category", "equal", "Animals & Nature", ""]])},
        {"like": '{"id": 119}'},
        {"like": '{"id": 119}', "text": "red heart"},
    ],
    ids=str,
)
def test_the_sql_finds_the_same_rows(
    console: Console, sql: psycopg.Connection[tuple[object, ...]], fields: dict[str, str]
) -> None:
    console.open(**fields)
    console.await_results()
    shown = console.names
    console.page.get_by_text("This search in SQL and curl").click()
    *calls, query = console.code("SQL").split(";\n")
    for call in calls:
        sql.execute(call.encode())
    rows = sql.execute(query.encode()).fetchall()
    assert [row[2]["name"] for row in rows] == shown  # type: ignore[index]


def test_code_is_copied(open_console: OpenConsole, demo: Process) -> None:
    console = open_console(demo.url, permissions=["clipboard-read", "clipboard-write"]).open(text="sad cat")
    console.await_results()
    console.page.get_by_text("This search in SQL and curl").click()
    console.page.get_by_role("button", name="Copy SQL").click()
    expect(console.page.get_by_text("Copied")).to_be_visible()
    assert console.page.evaluate("navigator.clipboard.readText()") == console.code("SQL")


def test_all_of_a_search_can_be_done_with_the_keyboard(console: Console) -> None:
    expect(console.page.get_by_role("searchbox")).to_be_visible()
    console.page.keyboard.press("Tab")
    expect(console.page.get_by_text("Skip to the content")).to_be_focused()
    console.page.keyboard.press("Enter")
    for _ in range(2):  # the choice of the watch, the words
        console.page.keyboard.press("Tab")
    expect(console.page.get_by_role("searchbox")).to_be_focused()
    console.page.keyboard.type("sad cat")
    console.page.keyboard.press("Enter")
    console.await_results("crying cat")


def test_colours_are_the_systems_until_the_button_says_otherwise(open_console: OpenConsole, demo: Process) -> None:
    console = open_console(demo.url, dark=True).open()
    background = "getComputedStyle(document.body).backgroundColor"
    dark = console.page.evaluate(background)
    console.page.get_by_role("button", name="Use light colours").click()
    expect(console.page.get_by_role("button", name="Use dark colours")).to_be_visible()
    light = console.page.evaluate(background)
    assert light != dark
    console.page.reload()
    expect(console.page.get_by_role("button", name="Use dark colours")).to_be_visible()
    assert console.page.evaluate(background) == light


def test_words_that_the_model_does_not_know_are_named(console: Console) -> None:
    console.search("猫")
    console.await_results()
    expect(console.page.get_by_role("status").first).to_contain_text("the model knows hardly a word of the text")
    console.search("sad cat")
    console.await_results("crying cat")
    expect(console.page.get_by_text("hardly a word")).to_have_count(0)
