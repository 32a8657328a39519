"""The keyboard, the clipboard, and files that are dropped. Answers are made up."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Request, expect

from tests.browser.conftest import OpenConsole
from tests.browser.console import Console
from tests.browser.made_up import find, found, offer, watch
from tests.integration.server.process import Process

DROP = """
    const event = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer });
    document.body.dispatchEvent(event);
"""


@pytest.fixture
def console(open_console: OpenConsole, blank: Process) -> Console:
    console = open_console(blank.url)
    offer(console.page, watch("public.cats"))
    find(console.page, *[{"title": f"cat {n}"} for n in range(24)])
    return console


def test_without_a_secure_origin_text_is_copied_and_the_focus_and_the_view_stay(console: Console) -> None:
    console.page.add_init_script("delete Navigator.prototype.clipboard")
    console.open(text="cat")
    console.await_results("cat 0")
    console.page.get_by_text("This search in SQL and curl").click()
    button = console.page.get_by_role("button", name="Copy SQL")
    button.scroll_into_view_if_needed()
    button.focus()
    before = console.page.evaluate("scrollY")
    console.page.keyboard.press("Enter")
    expect(console.page.get_by_text("Copied")).to_be_visible()
    assert console.page.evaluate("document.activeElement.closest('figcaption')?.innerText ?? ''").startswith("SQL")
    assert console.page.evaluate("scrollY") == before


def test_the_focus_is_on_something_after_what_had_it_is_gone(console: Console) -> None:
    page = console.page
    console.open(text="cat")
    console.await_results("cat 0")
    page.get_by_role("button", name="Add a filter").press("Enter")
    page.get_by_role("button", name="Remove filter 1").press("Enter")
    expect(page.get_by_role("button", name="Add a filter")).to_be_focused()

    page.unroute("**/search")
    others = found(*[{"title": f"dog {n}"} for n in range(3)])
    others["results"] = [{**row, "key": {"id": 100 + row["key"]["id"]}} for row in others["results"]]
    page.route("**/search", lambda route: route.fulfill(json=others))
    page.get_by_role("button", name="cat 23", exact=True).press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="More like this").press("Enter")
    console.await_results("dog 0")
    expect(page.get_by_role("main")).to_be_focused()
    page.get_by_role("button", name="Remove like id 24").press("Enter")
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_a_text_that_a_program_copies_with_a_picture_of_it_is_pasted_as_text(console: Console) -> None:
    console.open()
    expect(console.page.get_by_role("searchbox")).to_be_visible()
    searches: list[Request] = []
    console.page.on("request", lambda request: searches.append(request) if request.url.endswith("/search") else None)
    for text, name in (("black cat", "text.png"), ("", "picture.png")):
        console.page.evaluate(
            """([text, name]) => {
                const transfer = new DataTransfer();
                if (text) transfer.setData("text/plain", text);
                transfer.items.add(new File([new Uint8Array([1])], name, { type: "image/png" }));
                const options = { bubbles: true, cancelable: true, clipboardData: transfer };
                document.querySelector("input[type=search]").dispatchEvent(new ClipboardEvent("paste", options));
                return new Promise(done => setTimeout(done, 1000));
            }""",
            [text, name],
        )
    expect(console.page.locator(".token-label")).to_have_text("picture.png")
    assert len(searches) == 1


def test_of_several_files_that_are_dropped_the_first_picture_is_taken(console: Console) -> None:
    console.open()
    expect(console.page.get_by_role("searchbox")).to_be_visible()
    console.page.evaluate(
        f"""() => {{
            const transfer = new DataTransfer();
            transfer.items.add(new File(["x"], "a.txt", {{ type: "text/plain" }}));
            transfer.items.add(new File(["x"], "b.png", {{ type: "image/png" }}));
            transfer.items.add(new File(["x"], "c.png", {{ type: "image/png" }}));
            {DROP}
        }}"""
    )
    expect(console.page.locator(".token-label")).to_have_text("b.png")


def test_a_picture_that_cannot_be_read_is_named(console: Console, tmp_path: Path) -> None:
    path = tmp_path / "gone.png"
    path.write_bytes(b"x" * 1000)
    console.open()
    expect(console.page.get_by_role("searchbox")).to_be_visible()
    own = "Object.assign(document.createElement('input'), { type: 'file', id: 'own' })"
    console.page.evaluate(f"document.body.append({own})")
    console.page.locator("#own").set_input_files(path)
    path.unlink()
    console.page.evaluate(
        f"""() => {{
            const transfer = new DataTransfer();
            transfer.items.add(document.querySelector("#own").files[0]);
            {DROP}
        }}"""
    )
    expect(console.page.get_by_text("The browser cannot read “gone.png”")).to_be_visible()
