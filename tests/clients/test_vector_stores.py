"""Foreign vector stores on a watched table use the sidecar's index through the view of the recipe, by EXPLAIN."""

from __future__ import annotations

import json

import psycopg
import pytest

from tests.clients.conftest import OpenPage
from tests.clients.programs import need
from tests.integration.recipes.index_use import OTHER_PLANS, await_index
from tests.integration.recipes.page import Page

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

# Records a store's statement, explains it on a connection where other plans are forbidden, and prints both plans.
EXPLAIN = f"""
import json
import os
import psycopg
from sqlalchemy import event

sent = []

def listen(engine):
    event.listen(engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2:4]))

def explain():
    statement, parameters = [each for each in sent if "<=>" in each[0]][-1]
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        for setting in {OTHER_PLANS}:
            connection.execute(f"set {{setting}} = off")
        return "\\n".join(line for line, in connection.execute("explain " + statement, parameters))
"""
LANGCHAIN = """
from langchain_postgres import PGVectorStore
from embeddings import embeddings
from store import engine, store
from explaining import explain, json, listen

listen(engine._pool.sync_engine)
table = PGVectorStore.create_sync(
    engine, embeddings, table_name="products", id_column="id", content_column="title",
    embedding_column="title_embedding", metadata_columns=["brand"],
)
plans = []
for each in (store, table):
    each.similarity_search("red shoes", k=2)
    plans.append(explain())
    each.similarity_search("red shoes", k=2, filter={"brand": "Nord"})
    plans.append(explain())
try:
    store.add_texts(["gloves"])
except Exception as error:
    refusal = str(error)
print(json.dumps([*plans, refusal]))
"""
LLAMAINDEX = """
from store import index, store
from explaining import explain, json, listen

index.as_retriever(similarity_top_k=2).retrieve("red shoes")
listen(store._engine)
index.as_retriever(similarity_top_k=2).retrieve("red shoes")
print(json.dumps([explain()]))
"""
# Spring AI's PgVectorStore's statement for cosine distance; it binds vectors as `vector`.
SPRING = """
    explain select *, embedding <=> %(query)s::vector as distance from public.vector_store
    where embedding <=> %(query)s::vector < %(most)s order by distance limit 3
"""


def run(page: Page, program: str) -> list[str]:
    with psycopg.connect(page.database_url, autocommit=True) as connection:
        await_index(connection)
    (page.directory / "explaining.py").write_text(EXPLAIN, encoding="utf-8")
    printed: list[str] = json.loads(page.run_python(program).splitlines()[-1])
    return printed


def test_langchains_store_uses_the_index_through_the_view_only(open_page: OpenPage) -> None:
    need("python")
    page = open_page("langchain.md")
    page.follow(until="## JavaScript")
    of_view, of_view_filtered, of_table, of_table_filtered, refusal = run(page, LANGCHAIN)
    for plan in (of_view, of_view_filtered):
        assert "Index Scan using products_title_embedding_hnsw" in plan
        assert "Order By: ((title_embedding)::halfvec(1152) <=>" in plan
    for plan in (of_table, of_table_filtered):
        assert "Seq Scan on products" in plan, "the trap is gone: mend the recipe"
        assert "hnsw" not in plan
    assert 'cannot insert into column "embedding" of view "product_search"' in refusal


def test_llamaindexs_store_uses_the_index_through_the_view(open_page: OpenPage) -> None:
    need("python")
    page = open_page("llamaindex.md")
    page.follow()
    (plan,) = run(page, LLAMAINDEX)
    assert "Index Scan using products_title_embedding_hnsw" in plan


def test_javas_http_client_works_and_springs_statement_uses_the_index(open_page: OpenPage) -> None:
    need("java")
    page = open_page("java.md")
    page.follow()
    query = {"query": str([1.0] * 1152), "most": 1.0}
    with psycopg.connect(page.database_url, autocommit=True) as connection:
        await_index(connection)
        for setting in OTHER_PLANS:
            connection.execute(f"set {setting} = off".encode())
        plan = "\n".join(row[0] for row in connection.execute(SPRING, query))
    assert "Index Scan using products_title_embedding_hnsw" in plan
