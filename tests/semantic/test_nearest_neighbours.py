"""Recall of HNSW on real vectors in Postgres, with the documented index and search."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from sidecar.demo.emoji import Emoji
from tests.semantic.demo_model import Vectors

QUERIES = 150
SEARCH = "select (s.key->>'id')::int from sidecar.search('items', %s, k => 10) s"


@pytest.mark.long
def test_the_index_finds_nearly_all_results_of_an_exact_search(
    database_url: str,
    rows: list[Emoji],
    name_vectors: Vectors,
    picture_vectors: Vectors,
    record_property: Callable[[str, object], None],
) -> None:
    """Text queries for pictures: their vectors are separate clusters, harder for HNSW than picture queries."""
    queries = name_vectors[:: len(rows) // QUERIES]
    exact = [set(found[:10]) for found in (-(queries @ picture_vectors.T)).argsort(axis=1)]
    with psycopg.connect(database_url, autocommit=True) as connection:
        _store(connection, picture_vectors)
        connection.execute("set enable_seqscan = off")  # a sequential scan of every fourth row is cheaper
        found = [{key for (key,) in connection.execute(SEARCH, [_literal(query)])} for query in queries]
        plan = _plan_of(connection, queries[0])
    recall = sum(len(some & every) for some, every in zip(found, exact, strict=True)) / (10 * len(queries))
    record_property("HNSW on halfvec against exact, recall@10", recall)
    assert "items_photo_embedding_hnsw" in plan
    assert recall >= 0.98


def _store(connection: psycopg.Connection[tuple[object, ...]], vectors: Vectors) -> None:
    """Stores vectors as a sidecar does, and builds the index by the documented statement."""
    connection.execute("create table items (id bigint primary key, photo bytea)")
    connection.execute("select sidecar.watch('items', source => 'photo')")
    with connection.cursor().copy("copy items (id, photo_embedding) from stdin") as copy:
        for key, vector in enumerate(vectors):
            copy.write_row((key, _literal(vector)))
    row = connection.execute("select sidecar_internal.index_statement(w) from sidecar_internal.watches w").fetchone()
    assert row is not None
    connection.execute(str(row[0]).encode())
    connection.execute("analyze items")


def _plan_of(connection: psycopg.Connection[tuple[object, ...]], query: Vectors) -> str:
    """The plan of the query that sidecar.status documents."""
    row = connection.execute("select query from sidecar.status").fetchone()
    assert row is not None
    statement = str(row[0]).replace("$1", "%s")
    lines = connection.execute(f"explain {statement}".encode(), [_literal(query)]).fetchall()
    return "\n".join(str(line) for (line,) in lines)


def _literal(vector: Vectors) -> str:
    return "[" + ",".join(map(repr, vector.tolist())) + "]"
