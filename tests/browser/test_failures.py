"""The failures: by reason, with what to do, tried again from the console."""

from __future__ import annotations

import psycopg
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenConsole, Toys
from tests.browser.console import Console

SQL = """
create table photos (id bigint primary key, title text, photo bytea);
select sidecar.watch('photos', source => 'photo', expose => array['title', 'photo']);
insert into photos select n, 'photo', 'no picture <img src=x onerror=alert(1)>'::bytea from generate_series(1, 3) n;
"""


@pytest.fixture
def console(open_console: OpenConsole, toys: Toys, database_url: str) -> Console:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SQL)
    console = open_console(toys(database_url).url).open("failures")
    expect(console.page.get_by_role("list", name="Failed rows").locator("> li")).to_have_count(3)
    return console


def test_rows_are_listed_tried_again_and_gone_once_they_are_changed(console: Console, database_url: str) -> None:
    reasons = console.page.get_by_role("list", name="Reasons").locator("> li")
    expect(reasons).to_have_count(1)
    expect(reasons).to_contain_text("3")
    console.page.get_by_label("Select id 1 of").check()
    console.page.get_by_label("Select id 2 of").check()
    console.page.get_by_role("button", name="Retry 2 rows").click()
    expect(console.page.get_by_text("2 rows will be tried again.").first).to_be_visible()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("delete from photos")
    expect(console.page.get_by_role("heading", name="No row has failed")).to_be_visible()


def test_a_watch_is_paused_and_resumed_after_a_question(console: Console) -> None:
    console.open("rows")
    console.page.get_by_role("button", name="Pause public.photos.photo_embedding").click()
    console.page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(console.page.locator(".state")).to_contain_text("paused")
    console.page.get_by_role("button", name="Resume public.photos.photo_embedding").click()
    console.page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(console.page.locator(".state")).not_to_contain_text("paused")
    console.page.get_by_role("button", name="Rate of public.photos.photo_embedding").click()
    console.page.get_by_role("spinbutton").fill("250")
    console.page.get_by_role("button", name="Set the rate").click()
    expect(console.page.get_by_role("button", name="Rate of public.photos.photo_embedding")).to_have_text("250 rows/s")
