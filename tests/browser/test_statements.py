"""The SQL and the filters of tables whose keys are larger than JavaScript's numbers, and named as words of SQL."""

from __future__ import annotations

import json

import psycopg
import pytest

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
