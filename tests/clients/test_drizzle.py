"""drizzle-kit beside a watched table: what `push` drops, and the recipe that prevents it."""

from __future__ import annotations

import re

import psycopg
import pytest

from tests.clients.conftest import OpenPage
from tests.clients.programs import need
from tests.integration.recipes.index_use import OTHER_PLANS, await_index
from tests.integration.recipes.page import Page
from tests.waiting import wait_until

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

CONFIG = """
import { defineConfig } from "drizzle-kit";
export default defineConfig({
  dialect: "postgresql", schema: "./schema.js", dbCredentials: { url: process.env.DATABASE_URL },
});
"""
WITHOUT_THE_INDEX = """
import { bigint, pgTable, text, vector } from "drizzle-orm/pg-core";
export const products = pgTable("products", {
  id: bigint({ mode: "number" }).primaryKey().generatedAlwaysAsIdentity(),
  title: text().notNull(),
  title_embedding: vector({ dimensions: 1152 }),
});
"""
PLAN_OF_SEARCH = (
    f"const settings = {list(OTHER_PLANS)};"
    """
import pg from "pg";
import { nearest } from "./search.js";
const { sql: statement, params } = nearest(Array(1152).fill(0.1)).toSQL();
const client = new pg.Client(process.env.DATABASE_URL);
await client.connect();
for (const setting of settings) await client.query(`set ${setting} = off`);
console.log((await client.query("explain " + statement, params)).rows.map((row) => row["QUERY PLAN"]).join("\\n"));
await client.end();
"""
)


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    need("node")
    return open_page("drizzle.md")


def test_push_drops_an_unnamed_index_and_the_sidecar_rebuilds_it(page: Page) -> None:
    (page.directory / "drizzle.config.js").write_text(CONFIG)
    (page.directory / "schema.js").write_text(WITHOUT_THE_INDEX)
    page.run("npx drizzle-kit push")
    with psycopg.connect(page.database_url, autocommit=True) as connection:
        connection.execute("select sidecar.watch('products', source => 'title')")
        connection.execute("insert into products (title) values ('red shoes')")
        await_index(connection)
        first = index_of(connection)
        assert "DROP INDEX" in page.run("npx drizzle-kit push --verbose < /dev/null")
        wait_until(lambda: index_of(connection) not in {None, first}, "another index", timeout_s=60)


def test_the_page_works_and_its_search_uses_the_index(page: Page) -> None:
    page.follow()
    with psycopg.connect(page.database_url, autocommit=True) as connection:
        await_index(connection)
        found = connection.execute("select target, state, index from sidecar.status order by target").fetchall()
    assert [state for _, state, _ in found] == ["up to date", "up to date"]
    assert found[0][2] == "public.notes_by_body"
    (page.directory / "plan.js").write_text(PLAN_OF_SEARCH)
    assert re.search(
        r"Index Scan using product_vectors_embedding_hnsw_\d+ on product_vectors", page.run("node plan.js")
    )


def index_of(connection: psycopg.Connection) -> int | None:
    """The number of the table's HNSW index, once it is built."""
    table = "indrelid = 'products'::regclass"
    query = f"select indexrelid::bigint from pg_index where {table} and not indisprimary and indisvalid"
    row = connection.execute(query).fetchone()
    return None if row is None else int(row[0])
