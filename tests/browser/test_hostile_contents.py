"""Contents of rows, filters and messages that would be markup or code, if the console took them for it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import FilePayload, expect

from tests.browser.conftest import OpenConsole, Toys
from tests.browser.console import Console

PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '"><svg/onload=alert(3)>',
    "'-alert(4)-'",
    "javascript:alert(5)",
    "<a href='javascript:alert(6)'>a</a>",
    "<iframe srcdoc='<script>alert(7)</script>'></iframe>",
    "</title></textarea></style><script>alert(8)</script>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(9)&gt;'>",
    "{{constructor.constructor('alert(10)')()}}",
    "${alert(11)}`${alert(12)}`",
    "<style>@import '//example.com/a.css'; * { display: none }</style>",
    "<base href='//example.com/'>",
    "<form action='//example.com'><button autofocus onfocus=alert(13)>",
    "__proto__",
    "a\u202eb\u0000c".replace("\u0000", "\u0001"),
    "🐙 &amp; &lt;b&gt; mug",
]
ELEMENTS = ", ".join(
    ["script:not([src])", "iframe", "img[src=x]", "svg[onload]", "style", "base", "math", "form[action]"]
    + [f"[{event}]" for event in ("onerror", "onload", "onfocus")]
)
SQL = """
create table hostile (id text primary key, title text, list text[], data jsonb, "<img src=x onerror=alert(14)>" text);
select sidecar.watch('hostile', source => 'title',
                     expose => array['title', '<img src=x onerror=alert(14)>', 'list', 'data']);
"""
INSERT = """
insert into hostile
values (%(text)s, 'mug ' || %(text)s, array[%(text)s], jsonb_build_object(%(text)s::text, %(text)s::text), %(text)s)
"""


@pytest.fixture
def console(open_console: OpenConsole, toys: Toys, database_url: str) -> Iterator[Console]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
        for payload in PAYLOADS:
            connection.execute(INSERT, {"text": payload})
    console = open_console(toys(database_url).url)
    yield console
    assert console.page.locator(ELEMENTS).count() == 0
    assert console.page.title().endswith("sidecar")


def test_keys_texts_columns_and_values_are_shown_as_they_are(console: Console) -> None:
    console.open(text="mug")
    expect(console.results).to_have_count(len(PAYLOADS))
    shown = console.page.get_by_role("list", name="Results").inner_text()
    for payload in PAYLOADS:
        assert payload.split("\u202e")[0].split("`")[0] in shown
    for index in range(len(PAYLOADS)):
        console.results.nth(index).locator("h2 button").click()
        expect(console.page.get_by_role("dialog")).to_be_visible()
        console.page.keyboard.press("Escape")
        expect(console.page.get_by_role("dialog")).to_have_count(0)


def test_queries_filters_and_errors_are_shown_as_they_are(console: Console) -> None:
    for payload in PAYLOADS:
        filters = json.dumps([["title", "prefix", payload, ""]])
        console.open(text=f"mug {payload}", filter=filters, watch=payload)
        expect(console.page.locator("section.found, .notice.bad")).to_be_visible()
        console.open(like=json.dumps({payload: payload}))
        expect(console.page.get_by_role("alert")).to_be_visible()


def test_names_of_files_are_shown_and_quoted(console: Console) -> None:
    console.open()
    file: FilePayload = {
        "name": "<img src=x onerror=alert(1)>'; touch owned; '.png",
        "mimeType": "image/png",
        "buffer": b"no picture",
    }
    console.page.locator("input[type=file]").set_input_files(file)
    expect(console.page.get_by_role("alert")).to_be_visible()
    expect(console.page.locator(".token-label")).to_have_text(file["name"])
