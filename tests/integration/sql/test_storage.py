"""Watches that store their vectors as halfvec: what is made, what is inferred, and how the vectors are searched."""

from __future__ import annotations

from typing import Any

import pytest
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector
from psycopg.errors import DatatypeMismatch

from benchmarks.database.recall import clustered
from tests.integration.sql.session import Connection, refused, run, value

PLACES = pytest.mark.parametrize("companion", [None, "vectors"], ids=["in-row", "companion"])
STORED = """
    select s.storage, format_type(a.atttypid, a.atttypmod) from sidecar.status s
    join pg_attribute a on a.attrelid = coalesce(s.companion, s.relation) and a.attname = s.target
"""


@pytest.fixture
def db(db: Connection) -> Connection:
    run(db, "create table items (id int primary key, title text)")
    return db


def watch(db: Connection, companion: str | None = None, **options: Any) -> int:
    options = {"target": "e", "dimensions": 3, "companion": companion} | options
    arguments = ", ".join(f"{name} => %s" for name in options)
    watch_id: int = value(db, f"select sidecar.watch('items', 'title', {arguments})", *options.values())
    return watch_id


def fill(db: Connection, companion: str | None, rows: int = 200) -> None:
    """Inserts rows with vectors around the unit circle."""
    run(db, "set session_replication_role = replica")
    around = f"select i, array[sin(i), cos(i), 0]::halfvec from generate_series(1, {rows}) i"
    if companion is None:
        run(db, f"insert into items (id, title, e) select i, 'row ' || i, v from ({around}) x(i, v)")
    else:
        run(db, f"insert into items select i, 'row ' || i from generate_series(1, {rows}) i")
        run(db, f"insert into {companion} {around}")
    run(db, "set session_replication_role = origin")


@PLACES
def test_a_missing_column_is_made_of_the_type_asked_for(db: Connection, companion: str | None) -> None:
    first = watch(db, companion, storage="halfvec")
    assert run(db, STORED) == [("halfvec", "halfvec(3)")]
    assert watch(db, companion, storage="halfvec") == watch(db, companion) == first


@PLACES
def test_the_storage_of_an_existing_column_is_inferred(db: Connection, companion: str | None) -> None:
    if companion is None:
        run(db, "alter table items add e halfvec(3)")
    else:
        run(db, "create table vectors (id int primary key, e halfvec(3) not null)")
    watch(db, companion)
    assert run(db, STORED) == [("halfvec", "halfvec(3)")]


def test_the_default_is_vector(db: Connection) -> None:
    watch(db)
    assert run(db, STORED) == [("vector", "vector(3)")]


@PLACES
def test_the_storage_of_a_watch_is_changed_in_a_new_companion_only_and_the_hint_says_so(
    db: Connection, companion: str | None
) -> None:
    watch(db, companion)
    for replace in (False, True):
        with refused(db, "42804", "", "companion => 'some_table', storage => 'halfvec', replace => true"):
            watch(db, companion, storage="halfvec", replace=replace)
    watch(db, "some_table", storage="halfvec", replace=True)
    assert run(db, STORED) == [("halfvec", "halfvec(3)")]


def test_a_watch_moved_without_a_word_on_storage_keeps_it(db: Connection) -> None:
    watch(db, "vectors", storage="halfvec")
    watch(db, "others", replace=True)
    assert run(db, STORED) == [("halfvec", "halfvec(3)")]


def test_after_unwatch_the_column_may_be_altered_and_all_rows_are_embedded_again(db: Connection) -> None:
    watch_id = watch(db)
    run(db, "insert into items values (1, 'a')")
    run(
        db,
        f"insert into sidecar_internal.ledger_{watch_id} (k1, gen, content_hash, vector_digest) values (1, 1, %s, %s)",
        *(b"h" * 32, b"d" * 32),
    )
    run(db, "select sidecar.unwatch('items')")
    run(db, "alter table items alter column e type halfvec(3)")
    assert watch(db, storage="halfvec") == watch_id
    assert value(db, f"select count(*) from sidecar_internal.ledger_{watch_id}") == 0


@pytest.mark.parametrize(
    ("former", "index", "wanted"), [("vector", "vector", "halfvec"), ("halfvec", "halfvec", "vector")]
)
@PLACES
def test_the_hint_drops_the_index_whose_operator_class_takes_the_former_type_only(
    db: Connection, companion: str | None, former: str, index: str, wanted: str
) -> None:
    watch(db, companion, storage=former, index=index)
    run(db, value(db, "select index_statement from sidecar.status").replace("concurrently ", ""))
    run(db, "select sidecar.unwatch('items')")
    with pytest.raises(DatatypeMismatch) as caught, db.transaction():
        watch(db, companion, storage=wanted)
    assert caught.value.diag.message_hint is not None
    for statement in caught.value.diag.message_hint.partition("run: ")[2].strip().split("; "):
        run(db, statement)
    watch(db, companion, storage=wanted)
    assert run(db, STORED) == [(wanted, f"{wanted}(3)")]


def test_another_storage_is_another_watch_unless_replace_is_said(db: Connection) -> None:
    watch(db, "vectors")
    with refused(db, "42710", "is already watched, .* storage vector, expose", "Add replace => true"):
        watch(db, "others", storage="halfvec")


def _index_used(db: Connection, query: str) -> str:
    run(db, "set enable_seqscan = off; set enable_sort = off")
    plan = "\n".join(line for (line,) in run(db, f"explain {query.replace('$1', '%s')}", "[1,0,0]"))
    return next((name for name in plan.split() if "hnsw" in name), plan)


@PLACES
def test_the_index_is_on_the_column_and_serves_queries_with_the_cast_too(
    committed: Connection, companion: str | None
) -> None:
    """So queries that were written for `vector` work unchanged."""
    db = committed
    run(db, "create table items (id int primary key, title text)")
    watch(db, companion, storage="halfvec")
    fill(db, companion)
    [(query, statement)] = run(db, "select query, index_statement from sidecar.status")
    assert statement.endswith("using hnsw (e public.halfvec_cosine_ops)")
    assert "e::halfvec" not in query
    assert query.count("::halfvec(3)") == 1
    run(db, statement)
    assert value(db, "select index_statement from sidecar.status") is None
    name = f"{companion or 'items'}_e_hnsw_1"
    assert value(db, "select index from sidecar.status") == f"public.{name}"
    assert _index_used(db, query) == name
    assert _index_used(db, query.replace("e <=>", "e::halfvec(3) <=>")) == name


def test_a_partitioned_table_and_pgvector_in_a_schema_of_its_own_are_served(committed: Connection) -> None:
    db = committed
    run(
        db,
        "create schema extensions; alter extension vector set schema extensions; set search_path = public, extensions",
    )
    run(db, "create table items (id int primary key, title text) partition by range (id)")
    run(db, "create table low partition of items for values from (0) to (100)")
    run(db, "create table high partition of items default")
    watch(db, storage="halfvec")
    fill(db, None)
    for statement in value(db, "select index_statement from sidecar.status").split(";\n"):
        run(db, statement)
    [(query, index)] = run(db, "select query, index from sidecar.status")
    assert index == "public.items_e_hnsw_1"
    assert "order by e operator(extensions.<=>) $1::extensions.halfvec(3)" in query
    assert _index_used(db, query).endswith("_e_hnsw_1")
    found = run(db, "select (key->>'id')::int from sidecar.search('items', '[0.6,0.8,0]', k => 5)")
    assert found == [(row[0],) for row in run(db, query.replace("$1", "%s"), "[0.6,0.8,0]")[:5]]


@PLACES
@pytest.mark.parametrize("index", ["halfvec", "none"])
def test_every_search_finds_the_nearest_rows(db: Connection, companion: str | None, index: str) -> None:
    watch(db, companion, storage="halfvec", index=index, expose=["title"])
    fill(db, companion)
    home = companion or "items"
    expected = run(db, f"select id, e::vector <=> '[0.6,0.8,0]' from {home} order by 2 limit 5")
    ids = [key for key, _ in expected]
    by_status = run(db, value(db, "select query from sidecar.status").replace("$1", "%s"), "[0.6,0.8,0]")
    assert [row[0] for row in by_status[:5]] == ids
    for call in (
        "sidecar.search('items', '[0.6,0.8,0]', k => 5)",
        "sidecar.hybrid_search('items', '[0.6,0.8,0]', null, k => 5)",
        "sidecar.search_exposed('items', array[0.6,0.8,0], k => 5)",
    ):
        found = run(db, f"select (key->>'id')::int, distance from {call}")
        assert [key for key, _ in found] == ids, call
        assert [distance for _, distance in found] == pytest.approx([d for _, d in expected], abs=2e-3), call


def test_an_exact_search_of_halves_finds_what_one_of_vectors_finds(db: Connection) -> None:
    """recall@10 within 0.001 on a thousand of the nearest; `make bench` measures more, through HNSW too."""
    space = clustered(rows=2_000, queries=100, spread=0.7)
    register_vector(db)
    run(db, "create table recall (id int, v vector(1152), h halfvec(1152))")
    with db.cursor().copy("copy recall from stdin (format binary)") as copy:
        copy.set_types(["int4", "vector", "halfvec"])
        for i, vector in enumerate(space.rows):
            copy.write_row((i, Vector(vector), HalfVector(vector)))
    missed = 0
    for query in space.queries:
        by_vector, by_half = (
            {key for (key,) in run(db, f"select id from recall order by {order} limit 10", value)}
            for order, value in (("v <=> %s", Vector(query)), ("h <=> %s", HalfVector(query)))
        )
        missed += len(by_vector - by_half)
    assert missed <= 1


def test_a_sidecar_of_the_version_before_leaves_the_watch_alone(db: Connection) -> None:
    """It asks structure_fault, and would write what the column does not take."""
    fault = "select sidecar_internal.structure_fault(w) from sidecar_internal.watches w"
    watch(db)
    assert value(db, fault) is None
    watch(db, "vectors", storage="halfvec", replace=True)
    assert value(db, fault) == "its vectors are stored as halfvec, which takes a sidecar of a newer version"
    assert value(db, fault.replace("structure_fault", "structure_fault_v2")) is None


@PLACES
def test_unwatch_names_the_vectors_and_drop_target_deletes_them(db: Connection, companion: str | None) -> None:
    watch(db, companion, storage="halfvec")
    remains = "select r.statement from sidecar_internal.watches w cross join lateral sidecar_internal.remains_of(w) r"
    drop = "drop table public.vectors;" if companion else "alter table public.items drop column e;"
    assert (drop,) in run(db, remains)
    run(db, "select sidecar.unwatch('items')")
    run(db, "select sidecar.unwatch('items', drop_target => true)")
    assert run(db, "select attrelid::regclass from pg_attribute where attname = 'e'") == []


def test_doctors_remedy_for_a_replaced_column_takes_its_storage(db: Connection) -> None:
    watch_id = watch(db, storage="halfvec")
    call = f"select sidecar_internal.watch_statement(w) from sidecar_internal.watches w where id = {watch_id}"
    assert "storage => 'halfvec'" in value(db, call)
