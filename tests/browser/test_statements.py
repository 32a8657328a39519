"""The SQL and the filters of tables with large keys, companions, and names of any signs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenConsole, Toys
from tests.browser.console import Console

LARGE = 2**53  # the first whole number whose successor JavaScript does not have
_SQL = f"""
create table "Odd Mugs" (
    "order" bigint, "user" text, numbers bigint[], data jsonb, title text, primary key ("order", "user")
);
select sidecar.watch('"Odd Mugs"', source => 'title', target => 'end', expose => array['title', 'numbers', 'data']);
insert into "Odd Mugs"
select n, 'it''s', array[n], jsonb_build_object('n', n), title
from (values ({LARGE + 1}, 'green mug'), ({LARGE}, 'red mug'), (3, 'blue mug')) as mugs (n, title);
"""


@pytest.fixture
def console(open_console: OpenConsole, toys: Toys, database_url: str) -> Console:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_SQL)
    return open_console(toys(database_url).url)


def test_large_keys_and_reserved_names_are_found_by_the_sql_and_by_filters(console: Console, database_url: str) -> None:
    console.open(like=json.dumps({"order": str(LARGE + 1), "user": "it's"}))
    console.await_results()
    assert "green mug" not in console.names
    console.page.get_by_text("This search in SQL and curl").click()
    with psycopg.connect(database_url, autocommit=True) as connection:
        rows = connection.execute(console.code("SQL").encode()).fetchall()
    assert [row[2]["title"] for row in rows] == console.names
    for column, value in (
        ("numbers", f"[{LARGE + 1}]"),
        ("numbers", f"{LARGE + 1}"),
        ("data", f'{{"n": {LARGE + 1}}}'),
    ):
        console.open(text="mug", filter=json.dumps([[column, "contains", value, ""]]))
        console.await_results()
        assert console.names == ["green mug"], (column, value)


def test_the_sql_reads_the_vectors_of_a_companion(open_console: OpenConsole, toys: Toys, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table mugs (id int primary key, title text)")
        options = """companion => '"Mug vectors"', expose => array['title']"""
        connection.execute(f"select sidecar.watch('mugs', 'title', {options})".encode())
        connection.execute("insert into mugs values (1, 'green mug'), (2, 'red mug'), (3, 'blue chair')")
        console = open_console(toys(database_url).url).open(like='{"id": 1}')
        console.await_results("red mug")
        console.page.get_by_text("This search in SQL and curl").click()
        rows = connection.execute(console.code("SQL").encode()).fetchall()
        assert [row[2]["title"] for row in rows] == console.names


_NAME = """a/b?c#d%20&e='f' "g" ü🐙"""
_QUOTED = '"' + _NAME.replace('"', '""') + '"'
_TENANT = "6f1c1d52-31a5-4c7e-9d0a-0a7c1d5231a5"
_HOSTILE = f"""
create table {_QUOTED} (
    {_QUOTED} uuid, "__proto__" bigint, "constructor" text, photo bytea, primary key ({_QUOTED}, "__proto__")
);
insert into {_QUOTED}
values ('{_TENANT}', {LARGE + 1}, 'green mug', 'no picture'), ('{_TENANT}', 2, 'red mug', 'no picture');
select sidecar.watch(%(table)s, source => 'constructor', target => 'toString', expose => array['constructor']);
select sidecar.watch(%(table)s, source => 'photo', target => 'valueOf', expose => array['constructor', 'photo']);
"""


@pytest.fixture
def hostile(
    open_console: OpenConsole, toys: Toys, database_url: str
) -> Iterator[tuple[Console, psycopg.Connection[tuple[Any, ...]]]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        with psycopg.ClientCursor(connection) as cursor:
            cursor.execute(_HOSTILE.replace("d%20", "d%%20").encode(), {"table": f"public.{_QUOTED}"})
        yield open_console(toys(database_url).url), connection


Hostile = tuple[Console, psycopg.Connection[tuple[Any, ...]]]


def test_tables_and_columns_of_any_name_are_searched(hostile: Hostile) -> None:
    console, connection = hostile
    watch = f"public.{_QUOTED}.toString"
    console.open(watch=watch, text="green mug")
    console.await_results("green mug")
    console.page.get_by_role("button", name="More like this: green mug").click()
    console.await_results("red mug")
    assert console.names == ["red mug"]
    console.page.get_by_text("This search in SQL and curl").click()
    rows = connection.execute(console.code("SQL").encode()).fetchall()
    assert [row[2]["constructor"] for row in rows] == ["red mug"]
    filters = [["__proto__", "equal", str(LARGE + 1), ""], [_NAME, "equal", _TENANT, ""]]
    console.open(watch=watch, text="mug", filter=json.dumps(filters))
    console.await_results("green mug")
    assert console.names == ["green mug"]


def test_failed_rows_of_tables_and_columns_of_any_name_are_tried_again(hostile: Hostile) -> None:
    page = hostile[0].open("rows").page
    cards = page.get_by_role("list", name="Watches").locator("> li")
    expect(cards).to_have_count(2)
    cards.filter(has_text="valueOf").get_by_role("link", name="2", exact=True).click()
    expect(page.get_by_role("list", name="Failed rows").locator("> li")).to_have_count(2)
    page.get_by_role("button", name=f"__proto__ {LARGE + 1}").click()
    expect(page.get_by_text("1 row will be tried again.").first).to_be_visible()


def test_rows_of_tables_and_columns_of_any_name_are_on_the_map(hostile: Hostile) -> None:
    console, _ = hostile
    page = console.open("map", watch=f"public.{_QUOTED}.toString").page
    page.get_by_role("application").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("link", name="More like this").click()
    console.await_results()
    assert len(console.names) == 1


def test_tables_and_columns_of_any_name_are_planned(hostile: Hostile) -> None:
    console, connection = hostile
    page = console.open("add").page
    page.get_by_role("searchbox").fill("a/b?c#")
    page.get_by_role("link", name=f"public.{_QUOTED}").click()
    page.get_by_role("checkbox", name="constructor text, text").first.check()
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Vector column").fill("third")
    page.get_by_label("Vector column").press("Tab")
    sql = page.get_by_role("region", name="SQL that starts the watch")
    expect(sql).to_contain_text("third")
    connection.execute(sql.inner_text().encode())
