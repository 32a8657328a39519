"""Searches use the HNSW index, with and without filters, and scan until enough rows are found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.integration.search.shop import connect
from tests.integration.sql.session import Connection, refused, run, value
from tests.servers import Server

DIMENSIONS = 32
ROWS = 4000
RARE = 100  # one of so many rows is rare

NEAREST = (
    "select (key ->> 'id')::int from sidecar.search_exposed('items', %s::real[], target => %s, k => %s, filter => %s)"
)


@pytest.fixture(scope="module")
def points() -> NDArray[np.float32]:
    """(ROWS, DIMENSIONS) float32 of unit length, in clusters like embeddings."""
    random = np.random.default_rng(5)
    centres = random.normal(size=(40, DIMENSIONS))
    points = centres[random.integers(0, 40, ROWS)] + 0.7 * random.normal(size=(ROWS, DIMENSIONS))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def db(postgres_server: Server, migrated_template: str, points: NDArray[np.float32]) -> Iterator[Connection]:
    """`items`, watched in its row and with a companion, and `parts` in partitions; indexed as by the sidecar."""
    with postgres_server.lend_database(migrated_template) as url, connect(url) as connection:
        run(connection, "create table items (id int primary key, title text, tenant int, rare bool)")
        run(connection, "create table parts (id int primary key, title text, tenant int) partition by range (id)")
        run(connection, "create table parts_1 partition of parts for values from (0) to (2000)")
        run(connection, "create table parts_2 partition of parts for values from (2000) to (4000)")
        for table, target, options in (
            ("items", "e", ""), ("items", "v", ", companion => 'vectors', index => 'vector'"), ("parts", "e", ""),
        ):  # fmt: skip
            exposed = "array['tenant', 'rare']" if table == "items" else "array['tenant']"
            call = (
                f"select sidecar.watch('{table}', 'title', '{target}', dimensions => {DIMENSIONS}, expose => {exposed}"
            )
            run(connection, f"{call}{options})")
        fill(connection, points)
        for watch_id in (1, 2, 3):
            script = value(
                connection,
                "select sidecar_internal.index_statement(w) from sidecar_internal.watches w where id = %s",
                watch_id,
            )
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement.encode())
        run(connection, "analyze")
        # As for an SSD. With 4, a graph that happens to have many levels costs about as much as reading 2,000 rows.
        run(connection, "set random_page_cost = 1.1")
        yield connection


def fill(connection: Connection, points: NDArray[np.float32]) -> None:
    run(connection, "set sidecar.writer = 'on'; set session_replication_role = replica")
    for table, columns in (("items (id, title, tenant, rare, e)", 5), ("parts (id, title, tenant, e)", 4)):
        with connection.cursor().copy(f"copy {table} from stdin".encode()) as copy:
            for row, point in enumerate(points):
                values = (row, f"title {row}", row % 4, row % RARE == 0)[: columns - 1]
                copy.write_row((*values, literal(point)))
    run(connection, "insert into vectors select id, e from items")
    run(connection, "reset sidecar.writer; reset session_replication_role")


def literal(point: NDArray[np.float32], brackets: str = "[]") -> str:
    return brackets[0] + ",".join(map(str, point.tolist())) + brackets[1]


def plan(db: Connection, watch_id: int, condition: dict[str, Any], point: NDArray[np.float32]) -> str:
    """The plan of search_exposed's statement, with its parameters known to the planner as there."""
    query = (
        "select sidecar_internal.search_page_statement(w, '{}', %s::jsonb, '{}', false) from "
        "sidecar_internal.watches w where id = %s"
    )
    statement: str = value(db, query, json.dumps(condition), watch_id)
    statement = (
        statement.replace("$1", f"'{literal(point, '{}')}'::real[]")
        .replace("$2", "10")
        .replace("$3", "0")
        .replace("$4", "0")
    )
    lines = run(db, "explain " + statement)
    return "\n".join(line for (line,) in lines)


@pytest.mark.parametrize("condition", [{}, {"tenant": 3}, {"tenant": [2, 3]}], ids=["no filter", "tenant", "tenants"])
@pytest.mark.parametrize(("watch_id", "index"), [(1, "items_e_hnsw_1"), (2, "vectors_v_hnsw_2"), (3, "parts_1_e_")])
def test_the_plan_uses_the_hnsw_index(
    db: Connection, points: NDArray[np.float32], watch_id: int, index: str, condition: dict[str, Any]
) -> None:
    found = plan(db, watch_id, condition, points[7])
    assert f"Index Scan using {index}" in found, found
    assert "Order By: (" in found
    assert "Seq Scan" not in found, found


def test_few_rows_found_by_a_users_index_are_compared_exactly(db: Connection, points: NDArray[np.float32]) -> None:
    with db.transaction(force_rollback=True):
        run(db, "create index on items (tenant); update items set tenant = 77 where id < 5; analyze items")
        found = plan(db, 1, {"tenant": 77}, points[7])
    assert "items_tenant_idx" in found, found
    assert "hnsw" not in found, found


def test_a_selective_filter_finds_k_rows_with_high_recall(db: Connection, points: NDArray[np.float32]) -> None:
    """One of 100 rows matches. Without iterative scans the index stops after 40 rows and finds next to nothing."""
    wanted = np.arange(0, ROWS, RARE)
    with db.transaction(force_rollback=True):
        run(db, "set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_sort = on")
        found, found_at_once = [], []
        for point in points[1:61:3]:
            nearest = set(wanted[np.argsort(-(points[wanted] @ point))[:10]].tolist())
            rows = run(db, NEAREST, literal(point, "{}"), "e", 10, '{"rare": true}')
            assert len(rows) == 10
            found.append(len(nearest & {row for (row,) in rows}) / 10)
            run(db, "set local hnsw.iterative_scan = off")
            distance = f"e::halfvec({DIMENSIONS}) <=> %s::vector::halfvec({DIMENSIONS})"
            rows = run(db, f"select id from items where rare order by {distance} limit 10", literal(point))
            found_at_once.append(len(nearest & {row for (row,) in rows}) / 10)
    assert np.mean(found) >= 0.9, found
    assert np.mean(found_at_once) < 0.3, found_at_once


def test_distances_are_those_of_the_stored_vectors_and_ascend(db: Connection, points: NDArray[np.float32]) -> None:
    query = "select (key ->> 'id')::int, distance from sidecar.search_exposed('items', %s::real[], 'e', k => 50)"
    rows = run(db, query, literal(points[7], "{}"))
    exact = [1 - float(points[row].astype(np.float64) @ points[7].astype(np.float64)) for row, _ in rows]
    assert [distance for _, distance in rows] == pytest.approx(exact, abs=1e-6)
    assert [distance for _, distance in rows] == sorted(distance for _, distance in rows)


def test_settings_of_the_session_are_restored(db: Connection, points: NDArray[np.float32]) -> None:
    names = ("hnsw.iterative_scan", "hnsw.ef_search", "hnsw.max_scan_tuples")
    with db.transaction(force_rollback=True):
        run(db, "set local hnsw.iterative_scan = 'strict_order'; set local hnsw.ef_search = 77")
        run(db, NEAREST, literal(points[7], "{}"), "e", 10, "{}")
        assert [value(db, f"show {name}") for name in names] == ["strict_order", "77", "20000"]


def test_a_long_list_of_values_is_parsed_once_not_per_row(db: Connection, points: NDArray[np.float32]) -> None:
    many = json.dumps({"tenant": list(range(100, 100_100))})
    with db.transaction(force_rollback=True):
        run(db, "set local statement_timeout = '20s'")  # parsed 4000 times it would take minutes
        assert run(db, NEAREST, literal(points[7], "{}"), "e", 10, many) == []


def test_a_column_is_read_once(db: Connection, points: NDArray[np.float32]) -> None:
    query = "select shown from sidecar.search_exposed('items', %s::real[], 'e', columns => array['tenant', 'tenant'])"
    with refused(db, "42703", "column 'tenant' is asked for twice", ""):
        run(db, query, literal(points[7], "{}"))
