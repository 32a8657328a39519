"""Add a watch: tables, columns, rows, a plan, and SQL that does what is shown."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import expect

from tests.browser.chromium import AXE
from tests.browser.conftest import OpenConsole, Toys
from tests.browser.test_keys import KEY, give
from tests.integration.server.process import Process

HOSTILE = "<img src=x onerror=alert(1)>"
TABLES = f"""
create table notes (id int primary key, title text, body text, photo bytea, made timestamptz default now());
insert into notes select n, 'title ' || n, repeat('word ', 2 + 60 * (n % 2)), '\\x89504e470d0a1a0a'
    from generate_series(1, 30) n;
create table heap (title text);
create table "{HOSTILE}" ("{HOSTILE}" text primary key);
insert into "{HOSTILE}" values ('{HOSTILE}');
"""

Db = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def db(database_url: str) -> Iterator[Db]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(TABLES.encode())
        yield connection


def test_a_watch_is_planned_from_its_table_to_the_sql_that_starts_it(
    open_console: OpenConsole, toys: Toys, database_url: str, db: Db
) -> None:
    console = open_console(toys(database_url).url).open("add")
    page = console.page
    tables = page.get_by_role("list", name="Tables").get_by_role("listitem")
    expect(tables).to_have_count(3)
    expect(tables.filter(has_text="public.heap")).to_contain_text("table public.heap has no primary key")
    page.get_by_role("searchbox").fill(" zzz ")
    expect(page.get_by_text("No name begins with “zzz”")).to_be_visible()
    page.get_by_role("searchbox").fill(" not ")
    expect(tables).to_have_count(1)
    page.get_by_role("link", name="public.notes").click()
    page.get_by_label("title text, text").check()
    page.get_by_label("body text, text").check()
    expect(page.get_by_role("region", name="Preview")).to_contain_text("title 1 word word")
    expect(page.get_by_role("region", name="Plan")).to_contain_text("30 with something to embed")
    expect(page.get_by_text("of the texts are longer than the model reads")).to_be_visible()
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Companion table").fill("note_vectors")
    page.get_by_label("Companion table").press("Tab")
    page.get_by_label("made timestamp").check()
    sql = page.get_by_role("region", name="SQL that starts the watch")
    expect(sql).to_contain_text("companion => 'note_vectors'")
    expect(sql).to_contain_text("expose => array['made']")
    db.execute(sql.inner_text().encode())
    (watch,) = db.execute("select source, companion::text, expose from sidecar_internal.watches").fetchall()
    assert watch == (["title", "body"], "note_vectors", ["made"])
    page.reload()
    expect(page.get_by_label("Companion table")).to_have_value("note_vectors")


def test_long_texts_are_those_beyond_what_the_served_model_reads(
    open_console: OpenConsole, demo: Process, demo_database_url: str
) -> None:
    with psycopg.connect(demo_database_url, autocommit=True) as connection:
        connection.execute("create table captions (id int primary key, caption text)")
        connection.execute("insert into captions values (1, repeat('word ', 40))")  # 200 letters
        page = open_console(demo.url).open("add", table="public.captions", source='["caption"]').page
        expect(page.get_by_text("longer than the model reads (32 tokens, some 130 letters)")).to_be_visible()
        connection.execute("drop table captions")


def test_a_picture_is_embedded_by_itself(open_console: OpenConsole, toys: Toys, database_url: str, db: Db) -> None:
    page = open_console(toys(database_url).url).open("add", table="public.notes", source='["title"]').page
    expect(page.get_by_role("region", name="Preview")).to_contain_text("title 1")
    page.get_by_label("photo picture").check()
    expect(page.get_by_label("title text, text")).not_to_be_checked()
    expect(page.get_by_role("region", name="Preview")).to_contain_text("PNG")


def test_what_would_be_refused_is_said_before_it_is_run(
    open_console: OpenConsole, toys: Toys, database_url: str, db: Db
) -> None:
    fields = {"table": "public.notes", "source": '["title"]', "target": "id"}
    page = open_console(toys(database_url).url).open("add", **fields).page
    expect(page.get_by_text("It would be refused: ")).to_be_visible()


def test_hostile_names_and_rows_are_text(open_console: OpenConsole, toys: Toys, database_url: str, db: Db) -> None:
    page = open_console(toys(database_url).url).open("add").page
    page.get_by_role("link", name=HOSTILE).click()
    page.get_by_label(f"{HOSTILE} text").first.check()
    expect(page.get_by_role("region", name="Preview")).to_contain_text(HOSTILE)
    expect(page.locator("main img")).to_have_count(0)


def test_a_key_without_the_scope_is_asked_for_another(
    open_console: OpenConsole, toys: Toys, database_url: str, db: Db
) -> None:
    keys = f"{KEY},search:{KEY}-that-only-searches"
    console = open_console(toys(database_url, API_KEYS=keys).url).open("add")
    give(console, f"{KEY}-that-only-searches")
    expect(console.page.get_by_role("alert")).to_contain_text("The key lacks the scope `admin`")
    console.page.get_by_role("button", name="Use another key").click()
    give(console, KEY)
    expect(console.page.get_by_role("list", name="Tables")).to_contain_text("public.notes")


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make test-browser does, with npm")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)])
def test_the_screen_is_accessible(open_console: OpenConsole, demo: Process, width: int, *, dark: bool) -> None:
    console = open_console(demo.url, width=width, dark=dark).open("add")
    expect(console.page.get_by_role("list", name="Tables")).to_be_visible()
    assert console.accessibility_faults() == []
    console.open("add", table="public.emoji", source='["name"]')
    expect(console.page.get_by_role("region", name="Plan")).to_be_visible()
    console.page.get_by_text("More", exact=True).click()
    assert console.accessibility_faults() == []
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert console.page.evaluate(overflow) <= 0
