"""A service with keys, below a path of its own: the key is asked for, and forgotten."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenConsole, Toys
from tests.browser.console import Console

KEY = "a-key-of-sixteen-characters"
EMBED_KEY = "another-key-of-sixteen-characters"

SQL = """
create table mugs (id bigint primary key, title text);
select sidecar.watch('mugs', source => 'title', expose => array['title']);
insert into mugs values (1, 'green mug'), (2, 'red mug'), (3, 'blue chair');
"""


@pytest.fixture
def console(open_console: OpenConsole, toys: Toys, database_url: str) -> Console:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
    service = toys(database_url, API_KEYS=f"{KEY},embed:{EMBED_KEY}", ROOT_PATH="/tools/sidecar")
    return open_console(f"{service.url}/tools/sidecar").open()


def give(console: Console, key: str) -> None:
    console.page.locator("input[type=password]").fill(key)
    console.page.keyboard.press("Enter")


def test_the_key_is_asked_for_once_and_forgotten_with_the_page(console: Console) -> None:
    expect(console.page.get_by_role("dialog", name="This service needs a key")).to_be_visible()
    expect(console.page.locator("input[type=password]")).to_be_focused()
    give(console, "not-the-key-of-this-service")
    expect(console.page.get_by_role("alert")).to_contain_text("not valid for this service")
    give(console, KEY)
    console.search("green mug")
    console.await_results("green mug")
    expect(console.page.get_by_role("dialog")).to_have_count(0)

    kept = "[document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage), location.href].join()"
    assert KEY not in console.page.evaluate(kept)
    console.page.get_by_text("This search in SQL and curl").click()
    assert '-H "Authorization: Bearer $SIDECAR_API_KEY"' in console.code("curl")
    assert KEY not in console.page.content()
    console.page.reload()
    expect(console.page.get_by_role("dialog", name="This service needs a key")).to_be_visible()


def test_a_key_that_lacks_the_scope_can_be_replaced(console: Console) -> None:
    give(console, EMBED_KEY)
    expect(console.page.get_by_role("alert")).to_contain_text("The key lacks the scope `search`, which this needs.")
    console.page.get_by_role("button", name="Use another key").click()
    give(console, KEY)
    expect(console.page.get_by_role("searchbox")).to_be_visible()


def test_without_a_key_the_screen_says_what_is_missing(console: Console) -> None:
    expect(console.page.get_by_role("dialog")).to_be_visible()
    console.page.keyboard.press("Escape")
    expect(console.page.get_by_role("alert")).to_contain_text("Send a key")
    console.page.get_by_role("button", name="Use another key").click()
    give(console, KEY)
    expect(console.page.get_by_role("searchbox")).to_be_visible()


@pytest.mark.parametrize("end", ["", "/"])
def test_below_a_path_no_slash_need_end_the_address(console: Console, end: str) -> None:
    console.page.goto("about:blank")
    console.page.goto(f"{console.url}{end}")
    give(console, KEY)
    console.search("red mug")
    console.await_results("red mug")


def test_a_key_with_characters_that_no_key_has_is_refused_in_place(console: Console) -> None:
    give(console, "ключ-к-этому-сервису")
    expect(console.page.get_by_role("alert")).to_contain_text("No key has the character “к”")
    give(console, KEY)
    expect(console.page.get_by_role("searchbox")).to_be_visible()


def test_a_key_that_opens_no_watch_and_one_that_is_used_up_are_told_from_an_empty_database(
    open_console: OpenConsole, toys: Toys, database_url: str, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.toml"
    entry = '[[keys]]\nname = "{0}"\nkey = "{0}-{1}"\nscopes = ["search"]\n{2}\n'
    bound, used_up = 'tables = ["public.others"]', 'rate = "1/hour"'
    keys.write_text(entry.format("bound", KEY, bound) + entry.format("slow", KEY, used_up))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
    console = open_console(toys(database_url, API_KEYS_FILE=str(keys)).url)
    give(console.open(), f"bound-{KEY}")
    expect(console.page.get_by_role("heading", name="or the key opens none of it")).to_be_visible()
    give(console.open(), f"slow-{KEY}")
    console.search("green mug")
    expect(console.page.get_by_role("alert")).to_contain_text("Try again in ")
