"""The HNSW index of a watch, and the query that uses it as it stands in sidecar.status."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.sql.session import Connection, another_session, run, value
from tests.waiting import wait_until

DIMENSIONS = 1152  # those of the default model; the planner treats smaller vectors differently


def _make_items(db: Connection, companion: str | None, index: str = "halfvec", dimensions: int = 3) -> None:
    run(db, "create table items (id bigint primary key, title text)")
    run(
        db,
        "select sidecar.watch('items', 'title', target => 'e', dimensions => %s, companion => %s, index => %s)",
        dimensions,
        companion,
        index,
    )


def _fill(db: Connection, companion: str | None) -> None:
    """Inserts 10,000 rows, each with the sum of two random vectors; more would take long."""
    run(db, "set session_replication_role = replica")  # no events: the queue is not tested here
    run(
        db,
        """
        create temp table pool as
            select n, (select array_agg(random() - 0.5)::vector from generate_series(1, %s) where n >= 0) as v
            from generate_series(0, 199) n
        """,
        DIMENSIONS,
    )
    distinct = 100 if companion is None else 20
    pairs = f"generate_series(1, 10000) i join pool a on a.n = i % 100 join pool b on b.n = 100 + i / 100 % {distinct}"
    run(db, f"insert into items select i, 'title ' || i{', a.v + b.v' if companion is None else ''} from {pairs}")
    if companion:
        run(db, f"insert into vectors select i, a.v + b.v from {pairs}")


def _build(db: Connection) -> None:
    """Builds the index with the statement in status."""
    run(db, value(db, "select index_statement from sidecar.status"))
    assert value(db, "select index_statement from sidecar.status") is None


def _plan_of(db: Connection, query: str, vector: str) -> list[dict[str, Any]]:
    """The nodes of the plan, outermost first."""
    [(plan,)] = run(db, f"explain (format json) {query.replace('$1', '%s')}", vector)
    nodes, rest = [], [(json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]]
    while rest:
        node = rest.pop()
        rest += node.pop("Plans", [])
        nodes.append(node)
    return nodes


@pytest.mark.parametrize("companion", [None, "vectors"], ids=["in-row", "companion"])
def test_the_documented_query_uses_the_index_unchanged_with_default_settings(
    committed: Connection, companion: str | None
) -> None:
    _make_items(committed, companion, dimensions=DIMENSIONS)
    _fill(committed, companion)
    run(committed, "set maintenance_work_mem = '256MB'")
    _build(committed)
    run(committed, "analyze")
    run(committed, "reset all")
    name = "items_e_hnsw_1" if companion is None else "vectors_e_hnsw_1"
    [(index, query)] = run(committed, "select index, query from sidecar.status")
    vector = value(committed, f"select e::text from {companion or 'items'} where id = 77")

    assert index == f"public.{name}"
    nodes = _plan_of(committed, query, vector)
    assert name in {node.get("Index Name") for node in nodes}, nodes
    assert not {"Sort", "Seq Scan"} & {node["Node Type"] for node in nodes}, nodes
    found = run(committed, query.replace("$1", "%s"), vector)
    assert len(found) == 10
    # An HNSW index may miss a row; but every neighbour shares one of the two vectors that row 77 is the sum of.
    assert all(row[0] % 100 == 77 or row[0] // 100 % 20 == 0 for row in found), found


@pytest.mark.parametrize(
    ("index", "created", "queried"),
    [
        ("halfvec", r"((e::public.halfvec(3)) public.halfvec_cosine_ops)", "e::halfvec(3) <=> $1::halfvec(3)"),
        ("vector", r"(e public.vector_cosine_ops)", "e <=> $1::vector(3)"),
        ("none", None, "e <=> $1::vector(3)"),
    ],
)
def test_every_kind_of_index_matches_the_query_in_status(
    db: Connection, index: str, created: str | None, queried: str
) -> None:
    _make_items(db, None, index)
    [(statement, query)] = run(db, "select index_statement, query from sidecar.status")
    expected = (
        None
        if created is None
        else f"create index concurrently items_e_hnsw_{_watch_id(db)} on public.items using hnsw {created}"
    )
    assert statement == expected
    assert query == f"select * from public.items order by {queried} limit 10"
    run(db, query.replace("$1", "%s"), "[1,2,3]")


def test_index_and_query_are_qualified_with_the_schema_of_pgvector(
    plain_database_url: str, committed: Connection
) -> None:
    run(committed, 'create schema "Ext"; alter extension vector set schema "Ext"')
    _make_items(committed, "vectors")
    run(committed, "insert into vectors values (1, '[1,2,3]')")
    run(committed, "insert into items values (1, 'a')")
    run(committed, "update vectors set e = '[3,2,1]'")
    _build(committed)
    [(index, query)] = run(committed, "select index, query from sidecar.status")
    assert index == "public.vectors_e_hnsw_1"
    assert 'operator("Ext".<=>) $1::"Ext".halfvec(3)' in query
    assert run(committed, query.replace("$1", "%s"), "[1,2,3]") == [(1, "a")]


def _watch_id(db: Connection) -> int:
    watch_id: int = value(db, "select id from sidecar_internal.watches")
    return watch_id


@pytest.mark.parametrize(
    "index",
    [
        "using hnsw (e vector_l2_ops)",
        "using hnsw (e vector_cosine_ops)",
        "using hnsw ((e::halfvec(3)) halfvec_ip_ops)",
        "using hnsw ((e::halfvec(3)) halfvec_cosine_ops) where id > 5",
        "using hnsw ((f::halfvec(3)) halfvec_cosine_ops)",
        "(title)",
    ],
)
def test_an_index_that_the_query_cannot_use_is_ignored(db: Connection, index: str) -> None:
    _make_items(db, None)
    run(db, "alter table items add f vector(3)")
    run(db, f"create index mine on items {index}")
    assert value(db, "select index from sidecar.status") == "not built yet"


def test_a_users_index_that_the_query_can_use_is_accepted(db: Connection) -> None:
    _make_items(db, None)
    run(db, "create index mine on items using hnsw ((e::halfvec(3)) halfvec_cosine_ops) with (m = 8)")
    assert value(db, "select index from sidecar.status") == "public.mine"


def test_an_invalid_index_is_reported_unless_a_valid_one_exists(db: Connection) -> None:
    _make_items(db, None)
    for name in ("left_over", "good"):
        run(db, f"create index {name} on items using hnsw ((e::halfvec(3)) halfvec_cosine_ops)")
    run(db, "update pg_index set indisvalid = false where indexrelid = 'left_over'::regclass")
    assert value(db, "select index from sidecar.status") == "public.good"
    run(db, "drop index good")
    assert value(db, "select index from sidecar.status") == "invalid: public.left_over"


def test_a_users_invalid_index_is_not_dropped(db: Connection) -> None:
    _make_items(db, None)
    run(db, "create index mine on items using hnsw ((e::halfvec(3)) halfvec_cosine_ops)")
    run(db, "update pg_index set indisvalid = false where indexrelid = 'mine'::regclass")
    statement = value(db, "select index_statement from sidecar.status")
    assert statement.startswith("create index concurrently items_e_hnsw_")
    assert "drop" not in statement


def test_no_index_is_requested_with_index_none(db: Connection) -> None:
    _make_items(db, None, "none")
    run(db, "create index mine on items using hnsw (e vector_cosine_ops)")
    assert value(db, "select index from sidecar.status") == "none"


def test_a_long_index_name_is_cut_to_63_bytes(committed: Connection) -> None:
    run(committed, f"create table {'ü' * 31} (id int primary key, title text)")
    run(committed, f"select sidecar.watch('{'ü' * 31}', 'title', target => '{'e' * 63}', dimensions => 3)")
    _build(committed)
    index = value(committed, "select index from sidecar.status")
    name = index.removeprefix("public.").strip('"')
    assert name.endswith("_hnsw_1")
    assert len(name.encode()) in (62, 63)


def test_an_index_being_built_is_reported_as_building(shared_database_url: str, tidied: Connection) -> None:
    _make_items(tidied, None)

    def build() -> None:
        with another_session(shared_database_url) as session:
            run(session, value(session, "select index_statement from sidecar.status"))

    with ThreadPoolExecutor() as threads:
        with another_session(shared_database_url, autocommit=False) as writer:  # the build waits for this transaction
            run(writer, "insert into items values (1, 'a')")
            built = threads.submit(build)
            status = "select index from sidecar.status"
            wait_until(lambda: value(tidied, status).startswith("building: waiting for"), "the build to show")
        built.result(timeout=10)
    assert value(tidied, status).startswith("public.items_e_hnsw_")
