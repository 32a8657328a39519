"""One watch: its settings, its query, and rows with what is nearest to each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.operations.migrations import migrate
from tests.browser.chromium import AXE
from tests.browser.conftest import OpenConsole, Toys, await_vectors
from tests.browser.console import Console
from tests.browser.test_hostile_contents import ELEMENTS, INSERT, PAYLOADS
from tests.browser.test_hostile_contents import SQL as HOSTILE
from tests.browser.test_keys import KEY, SQL, give
from tests.integration.server.process import Process

PICTURES = "public.emoji.picture_embedding"
NAMES = "public.emoji.name_embedding"
MUGS = "public.mugs.title_embedding"
SEARCH_KEY, EMBED_KEY = f"{KEY}-that-only-searches", f"{KEY}-that-only-embeds"
KEYS = f"{KEY},search:{SEARCH_KEY},embed:{EMBED_KEY}"
DISTANCE = re.compile(r"distance (\d\.\d{3})")

Db = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def db(database_url: str) -> Iterator[Db]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
        yield connection


@pytest.fixture
def mugs(open_console: OpenConsole, toys: Toys, database_url: str, db: Db) -> Console:
    return open_console(toys(database_url).url).open("watch", watch=MUGS)


def sampled(page: Page) -> Locator:
    return page.get_by_role("list", name="Sampled rows").locator("> li")


def setting(page: Page, name: str) -> Locator:
    facts = page.get_by_role("region", name="Settings").locator("dl > div")
    return facts.filter(has=page.get_by_text(name, exact=True)).locator("dd")


def hold(console: Console, requests: str) -> list[Route]:
    """Those of the page's requests that match and are not answered: the list grows."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    console.page.route(requests, keep)
    return held


def ids(rows: list[Any]) -> list[int]:
    return [row["key"]["id"] for row in rows]


def test_the_name_of_a_watch_leads_to_it_and_back_and_reload_work(open_console: OpenConsole, demo: Process) -> None:
    page = open_console(demo.url).open("rows").page
    page.get_by_role("link", name="emoji.name_embedding", exact=True).click()
    expect(page).to_have_url(f"{demo.url}/#/watch?watch={NAMES}")
    heading = page.get_by_role("heading", name="emoji.name_embedding")
    expect(heading).to_be_visible()
    expect(page.get_by_role("main")).to_be_focused()
    expect(page.get_by_role("link", name="Rows", exact=True)).to_have_attribute("aria-current", "true")
    page.reload()
    expect(heading).to_be_visible()
    page.go_back()
    expect(page.get_by_role("list", name="Watches")).to_be_visible()


def test_a_watch_of_pictures_shows_six_rows_and_three_others_beside_each(
    open_console: OpenConsole, demo: Process
) -> None:
    page = open_console(demo.url, height=4000).open("watch", watch=PICTURES).page
    expect(sampled(page)).to_have_count(6)
    expect(sampled(page).locator("ol > li")).to_have_count(18)
    expect(sampled(page).locator("img")).to_have_count(24)
    keys = sampled(page).locator("> .seen .small")
    before = keys.all_inner_texts()
    page.get_by_role("button", name="Other rows").click()
    expect(keys).not_to_have_text(before)
    expect(sampled(page)).to_have_count(6)
    assert keys.all_inner_texts() != before
    sampled(page).first.get_by_role("link", name="More like").click()
    expect(page.get_by_role("list", name="Results").locator("> li").first).to_be_visible()


def test_what_is_nearest_is_what_an_exact_search_finds(
    open_console: OpenConsole, demo: Process, demo_database_url: str
) -> None:
    with psycopg.connect(demo_database_url) as connection:
        rows = connection.execute("select id, name_embedding::real[] from emoji order by id").fetchall()
    places = {row[0]: place for place, row in enumerate(rows)}
    vectors = np.array([row[1] for row in rows])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    page = open_console(demo.url).open("watch", watch=NAMES).page
    expect(sampled(page).locator("ol > li")).to_have_count(18)
    for row in sampled(page).all():
        own, *others = [int(text.split()[1]) for text in row.locator(".small").all_inner_texts()]
        distances = 1 - vectors @ vectors[places[own]]
        distances[places[own]] = np.inf
        assert own not in others
        shown = [float(DISTANCE.findall(text)[0]) for text in row.locator(".figures").all_inner_texts()]
        np.testing.assert_allclose(shown, np.sort(distances)[:3], atol=6e-4)
        np.testing.assert_allclose(shown, distances[[places[other] for other in others]], atol=6e-4)


def test_settings_are_those_of_the_watch(open_console: OpenConsole, toys: Toys, database_url: str, db: Db) -> None:
    console = open_console(toys(database_url).url)
    db.execute("create table notes (id int, part text, title text, body text, primary key (id, part))")
    call = """sidecar.watch('notes', array['title', 'body'], target => 'e', companion => 'note_vectors',
        storage => 'halfvec', model => 'another-model', expose => array['title'],
        index => 'using hnsw with (m = 24)')"""
    db.execute(f"select {call}".encode())
    db.execute("select sidecar.set_rate('notes', rows_per_s => 20); select sidecar.pause('notes')")
    page = console.open("watch", watch="public.notes.e").page
    for name, text in {
        "Embeds": "texts of title, body",
        "Key": "id, part",
        "Vectors": "e, in the companion public.note_vectors",
        "View": "public.note_vectors_view",
        "Stored as": "halfvec, 1,152 dimensions",
        "Index": "using hnsw (e halfvec_cosine_ops) with (m = 24)",
        "Model": "none yet",
        "Asks for": "another-model",
        "Exposes": "title (text)",
        "Rate": "at most 20 rows/s",
        "Paused": "yes",
    }.items():
        expect(setting(page, name)).to_have_text(text)
    page.goto(console.address("watch", watch=MUGS))
    expect(setting(page, "Vectors")).to_have_text("title_embedding, in the table itself")
    expect(setting(page, "Index")).to_have_text("HNSW, on halfvec")
    expect(setting(page, "Rate")).to_have_text("no limit")
    expect(setting(page, "Model")).to_have_text("hash")


def test_a_watch_is_paused_and_resumed_from_its_own_screen(mugs: Console) -> None:
    page = mugs.page
    expect(setting(page, "Paused")).to_have_text("no")
    page.get_by_role("button", name=f"Pause {MUGS}").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(setting(page, "Paused")).to_have_text("yes")
    expect(page.get_by_text("The watch is paused: rows that have changed since")).to_be_visible()
    page.get_by_role("button", name=f"Resume {MUGS}").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(setting(page, "Paused")).to_have_text("no")
    expect(page.get_by_text("The watch is paused")).to_have_count(0)


@pytest.mark.parametrize("watch", [PICTURES, NAMES])
def test_the_sql_shown_gives_the_rows_of_the_request_shown(
    open_console: OpenConsole, demo: Process, demo_database_url: str, watch: str
) -> None:
    console = open_console(demo.url).open("watch", watch=watch)
    console.page.get_by_role("textbox", name="Looked for").fill("it's a sad cat")
    sql = console.page.get_by_role("region", name="SQL", exact=True)
    expect(sql).to_contain_text("it''s a sad cat")
    expect(sql).to_contain_text("order by")
    assert console.code("SQL").count("sidecar.embed") == 2
    assert rows_of(console.code("SQL"), demo_database_url) == rows_of_curl(console, demo.url)
    assert len(rows_of_curl(console, demo.url)) == 10


def test_the_sql_of_a_companion_names_the_columns_of_the_table(
    open_console: OpenConsole, toys: Toys, database_url: str, db: Db
) -> None:
    db.execute('create table cups (id int primary key, title text, "a$1::b limit 10" text)')
    db.execute("insert into cups (id, title) values (1, 'green mug'), (2, 'red mug'), (3, 'blue chair')")
    exposed = "expose => array['title', 'a$1::b limit 10']"
    call = f"sidecar.watch('cups', 'title', target => '$1::e', companion => 'cup_vectors', {exposed})"
    db.execute(f"select {call}".encode())
    url = toys(database_url).url
    console = open_console(url).open("watch", watch="public.cups.$1::e")
    console.page.get_by_role("textbox", name="Looked for").fill("red mug")
    expect(console.page.get_by_role("region", name="SQL", exact=True)).to_contain_text("cup_vectors")
    assert rows_of(console.code("SQL"), database_url) == rows_of_curl(console, url)
    assert rows_of_curl(console, url)[0] == 2


def rows_of(sql: str, database_url: str) -> list[int]:
    """The keys that a statement finds, after others."""
    *before, last = sql.strip().removesuffix(";").split(";\n")
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in before:
            connection.execute(statement.encode())
        cursor = connection.cursor()
        return [row[0] if isinstance(row[0], int) else row[0]["id"] for row in cursor.execute(last.encode())]


def rows_of_curl(console: Console, url: str) -> list[int]:
    body = json.loads(console.code("curl").partition(" -d '")[2].removesuffix("'").replace("'\\''", "'"))
    headers = {"Authorization": f"Bearer {SEARCH_KEY}"} if "Bearer" in console.code("curl") else {}
    return ids(httpx.post(f"{url}/search", json=body, headers=headers).json()["results"])


def test_a_key_that_only_searches_sees_all_but_the_state_and_may_be_replaced(
    open_console: OpenConsole, toys: Toys, database_url: str, db: Db
) -> None:
    url = toys(database_url, API_KEYS=KEYS).url
    console = open_console(url).open("watch", watch=MUGS)
    give(console, SEARCH_KEY)
    expect(console.page.get_by_role("alert")).to_contain_text("The key lacks the scope `admin`")
    expect(setting(console.page, "Exposes")).to_have_text("title (text)")
    expect(sampled(console.page)).to_have_count(3)
    assert rows_of(console.code("SQL"), database_url) == rows_of_curl(console, url)
    expect(console.page.get_by_role("region", name="State")).to_have_count(0)
    console.page.get_by_role("button", name="Use another key").click()
    give(console, KEY)
    expect(console.page.get_by_role("region", name="State")).to_contain_text("100 %")
    expect(console.page.get_by_role("alert")).to_have_count(0)


def test_a_key_without_the_scopes_is_asked_for_another(
    open_console: OpenConsole, toys: Toys, database_url: str, db: Db
) -> None:
    console = open_console(toys(database_url, API_KEYS=KEYS).url).open("watch", watch=MUGS)
    give(console, EMBED_KEY)
    expect(console.page.get_by_role("alert")).to_contain_text("The key lacks the scope `search`")
    console.page.get_by_role("button", name="Use another key").click()
    give(console, KEY)
    expect(sampled(console.page)).to_have_count(3)


def test_hostile_names_and_rows_are_text(open_console: OpenConsole, toys: Toys, database_url: str) -> None:
    name = "<img src=x onerror=alert(1)>"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(HOSTILE)
        for payload in PAYLOADS:
            connection.execute(INSERT, {"text": payload})
        connection.execute(f'create table "{name}" (id text primary key, title text)'.encode())
        connection.execute(f"""select sidecar.watch('"{name}"', 'title', target => '{name}')""".encode())
    console = open_console(toys(database_url).url).open("watch", watch="public.hostile.title_embedding")
    page = console.page
    expect(setting(page, "Exposes")).to_contain_text("<img src=x onerror=alert(14)> (text)")
    for _ in range(4):
        expect(sampled(page).locator("ol > li")).to_have_count(18)
        assert "mug" in sampled(page).first.inner_text()
        assert page.locator(ELEMENTS).count() == 0
        page.get_by_role("button", name="Other rows").click()
    page.get_by_role("textbox", name="Looked for").fill("".join(PAYLOADS))
    expect(page.get_by_role("region", name="SQL", exact=True)).to_contain_text("alert(7)")
    console.open("watch", watch=f'public."{name}".{name}')
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    for payload in PAYLOADS:
        console.open("watch", watch=payload)
        expect(page.get_by_role("heading", name="There is no such watch")).to_be_visible()
        assert page.locator(ELEMENTS).count() == 0


def test_a_watch_without_vectors_and_one_that_exposes_nothing_say_so(
    open_console: OpenConsole, toys: Toys, database_url: str, db: Db
) -> None:
    db.execute("create table plain (id int primary key, title text)")
    db.execute("select sidecar.watch('plain', 'title', target => 'e')")
    page = open_console(toys(database_url).url).open("watch", watch="public.plain.e").page
    expect(page.get_by_role("heading", name="No vectors yet")).to_be_visible()
    expect(page.get_by_text("The watch exposes no column, so that only keys can be shown")).to_be_visible()
    expect(setting(page, "Exposes")).to_have_text("no column but the key")
    db.execute("insert into plain values (1, 'secret mug')")
    await_vectors(database_url)
    page.get_by_role("button", name="Other rows").click()
    expect(sampled(page)).to_contain_text(["id 1"])
    expect(page.get_by_text("No other row has a vector.")).to_be_visible()
    assert "secret" not in page.content()


def test_rows_that_changed_since_they_were_drawn_say_so(
    open_console: OpenConsole, toys: Toys, database_url: str, db: Db
) -> None:
    console = open_console(toys(database_url).url)
    held = hold(console, "**/search")
    page = console.open("watch", watch=MUGS).page
    expect(sampled(page)).to_have_count(3)
    expect(page.get_by_text("Looking for the nearest …")).to_have_count(3)
    db.execute("delete from mugs where id = 1; update mugs set title = '' where id = 2")
    await_vectors(database_url)
    assert len(held) == 3
    for route in held:
        route.continue_()
    row = {number: sampled(page).filter(has_text=f"id {number}") for number in (1, 2, 3)}
    expect(row[1]).to_contain_text("This row was deleted in the meantime.")
    expect(row[2]).to_contain_text("This row has no vector any more")
    expect(row[3]).to_contain_text("No other row has a vector.")
    page.get_by_role("button", name="Other rows").click()
    expect(sampled(page)).to_have_count(1)


def test_a_search_that_fails_can_be_tried_again(open_console: OpenConsole, demo: Process) -> None:
    console = open_console(demo.url)
    console.page.route("**/search", lambda route: route.abort())
    page = console.open("watch", watch=NAMES).page
    expect(page.get_by_text("The service does not answer.")).to_have_count(6)
    console.page.unroute("**/search")
    sampled(page).first.get_by_role("button", name="Try again").click()
    expect(sampled(page).first.locator("ol > li")).to_have_count(3)


def test_a_slow_sample_is_waited_for(open_console: OpenConsole, demo: Process) -> None:
    console = open_console(demo.url)
    held = hold(console, "**/map?*")
    page = console.open("watch", watch=NAMES).page
    expect(page.get_by_text("Drawing rows …")).to_be_visible()
    expect(page.get_by_role("button", name="Other rows")).to_be_disabled()
    expect(setting(page, "Embeds")).to_have_text("texts of name")
    held[0].continue_()
    expect(sampled(page)).to_have_count(6)


def test_a_broken_watch_and_one_that_is_removed_say_so(mugs: Console, db: Db) -> None:
    page = mugs.page
    expect(sampled(page)).to_have_count(3)
    db.execute("alter table mugs drop constraint mugs_pkey")
    db.execute("insert into mugs values (4, 'cup')")
    expect(page.get_by_role("region", name="State")).to_contain_text("broken: table public.mugs has no primary key")
    db.execute("select sidecar.unwatch('mugs')")
    expect(page.get_by_text("It was removed in the meantime, or its table was dropped.")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="There is no such watch")).to_be_visible()
    page.get_by_role("link", name="all watches").click()
    expect(page.get_by_role("heading", name="Nothing is watched yet")).to_be_visible()


def test_a_stopped_database_is_reported_and_a_restarted_one_read(
    open_console: OpenConsole, toys: Toys, open_tmp_path: Path, postgres_version: str
) -> None:
    settings = {"fsync": "off"}
    with EmbeddedPostgres(open_tmp_path / "data", postgres_version, settings=settings) as postgres:
        migrate(postgres.url)
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute(SQL)
        port = int(postgres.url.rpartition(":")[2].partition("/")[0])
        page = open_console(toys(postgres.url).url).open("watch", watch=MUGS).page
        expect(sampled(page)).to_have_count(3)
    page.get_by_role("button", name="Other rows").click()
    expect(page.get_by_role("alert")).to_contain_text("database", ignore_case=True)
    expect(page.get_by_text("The database cannot be read")).to_be_visible()
    with EmbeddedPostgres(open_tmp_path / "data", postgres_version, port=port, settings=settings):
        page.get_by_role("button", name="Try again").click()
        expect(sampled(page)).to_have_count(3)
        expect(page.get_by_text("The database cannot be read")).to_have_count(0)


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make test-browser does, with npm")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (360, False), (360, True)])
def test_the_screen_is_accessible(open_console: OpenConsole, demo: Process, width: int, *, dark: bool) -> None:
    console = open_console(demo.url, width=width, dark=dark)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for watch in (PICTURES, NAMES):
        console.open("watch", watch=watch)
        expect(sampled(console.page).locator("ol > li")).to_have_count(18)
        expect(console.page.get_by_role("region", name="State")).to_be_visible()
        assert console.accessibility_faults() == []
        assert console.page.evaluate(overflow) <= 0
    console.open("watch", watch="nothing")
    expect(console.page.get_by_role("heading", name="There is no such watch")).to_be_visible()
    assert console.accessibility_faults() == []
