"""The migrations of docs/migration-tools.md run with and without a sidecar in the database."""

from __future__ import annotations

import psycopg

from tests.integration.test_documents import sql_blocks

PAGE = "docs/migration-tools.md"


def _run_page(url: str) -> psycopg.Connection:
    connection = psycopg.connect(url, autocommit=True)
    for block in sql_blocks(PAGE, "# Migration tools"):
        connection.execute(block.encode())
    return connection


def test_with_a_sidecar_the_table_is_watched_before_and_after_its_column_is_retyped(database_url: str) -> None:
    with _run_page(database_url) as connection:
        watches = connection.execute("select relation::text, companion::text, target from sidecar.status").fetchall()
        kind = connection.execute("select pg_typeof(title)::text from (select (null::products).title) row").fetchone()
    assert watches == [("products", "vectors.product_vectors", "embedding")]
    assert kind == ("character varying",)


def test_without_a_sidecar_the_same_migrations_leave_plain_tables(plain_database_url: str) -> None:
    with _run_page(plain_database_url) as connection:
        tables = connection.execute(
            "select schemaname, tablename from pg_tables where schemaname !~ '^(pg_|information_schema)'"
        ).fetchall()
    assert tables == [("public", "products")]
