"""The reference of SQL is up to date with the catalogue of a migrated database."""

from __future__ import annotations

import psycopg

from docsite.reference import SQL_PAGE
from docsite.sql import sql_page


def test_the_page_is_up_to_date(database_url: str) -> None:
    assert SQL_PAGE.read_text(encoding="utf-8") == sql_page(database_url), "sql.md is out of date: run `make docs`"


def test_a_function_has_its_signature_and_its_comment_and_so_has_a_view_and_its_columns(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("comment on procedure sidecar.wait_embedded is 'Waits for a <row>. Or not.\n\nLater: more.'")
        connection.execute("comment on view sidecar.scans is 'Walks over tables.'")
        connection.execute("comment on column sidecar.scans.found is 'Rows that differ.'")
    page = sql_page(database_url)
    assert "| [`sidecar.wait_embedded`](#sidecarwait_embedded) | Waits for a &lt;row>. |" in page
    section = page.partition("## `sidecar.wait_embedded`\n")[2].partition("\n## ")[0]
    assert "    target text default null,\n    timeout_ms integer default 5000\n)\n" in section
    assert "\nWaits for a &lt;row>. Or not.\n\nLater: more.\n" in section
    assert "## `sidecar.scans`\n\nWalks over tables.\n" in page
    assert "| `found` | `bigint` | Rows that differ. |" in page


def test_what_differs_from_the_page_is_seen(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("create function sidecar.another() returns int language sql as 'select 1'")
    assert "function sidecar.another() returns integer" in sql_page(database_url)
