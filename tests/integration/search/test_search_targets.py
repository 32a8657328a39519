"""sidecar.search_targets: the nearest rows of several targets, merged, in SQL."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.encoders import HashEncoder
from tests.integration.search.catalogue import distances_from, make_catalogue, ranks_of, scores_of
from tests.integration.search.shop import DIMENSIONS, vector_literal
from tests.integration.sql.session import Connection, refused, run, value

FOUND = (
    "select (key ->> 'id')::int, score, distance, distances, ranks, shown, document_text "
    "from sidecar.search_targets('catalogue', %s, %s{})"
)
NAMES = ["t", "p"]


@pytest.fixture
def encoder(db: Connection) -> HashEncoder:
    return make_catalogue(db)


def found(db: Connection, query: str, more: str = "") -> dict[int, tuple[Any, ...]]:
    """The rows in their order."""
    return {row: rest for row, *rest in run(db, FOUND.format(more), query, NAMES)}  # type: ignore[misc]


def test_rows_have_the_scores_ranks_and_distances_of_each_target(db: Connection, encoder: HashEncoder) -> None:
    for text in ("red bicycle", "green mug", "something else"):
        rows = found(db, vector_literal(encoder, text))
        distances = distances_from(encoder, text)
        ranks = ranks_of(distances)
        scores = scores_of(ranks)
        assert list(rows) == list(scores)
        for row, (score, distance, by_target, places, *_) in rows.items():
            assert score == pytest.approx(scores[row])
            assert places == ranks[row]
            assert by_target == {name: each if each is None else pytest.approx(each, abs=1e-5)
                                 for name, each in distances[row].items()}  # fmt: skip
            assert distance == pytest.approx(
                min(each for each in distances[row].values() if each is not None), abs=1e-5
            )


def test_weights_multiply_and_candidates_bound_what_a_target_proposes(db: Connection, encoder: HashEncoder) -> None:
    text = "red bicycle"
    query = vector_literal(encoder, text)
    weighted = found(db, query, ", weights => array[0.25, 3]")
    scores = scores_of(ranks_of(distances_from(encoder, text)), (0.25, 3))
    assert {row: each[0] for row, each in weighted.items()} == {
        row: pytest.approx(each) for row, each in scores.items()
    }
    assert list(weighted) == list(scores)
    two = found(db, query, ", candidates => 1")
    assert {row: each[3] for row, each in two.items()} == {1: {"t": 1, "p": None}, 3: {"t": None, "p": 1}}
    assert two[1][2]["p"] is not None, "a row has its distance in every target that has a vector of it"
    assert list(found(db, query, ", k => 1")) == [1]


def test_arrays_of_any_bounds_are_read_in_their_order(db: Connection, encoder: HashEncoder) -> None:
    query = vector_literal(encoder, "red bicycle")
    wanted = found(db, query, ", weights => array[0.25, 3]")
    for weights in ("'[0:1]={0.25,3}'", "array[[0.25, 3]]", "array[[0.25], [3]]"):
        assert found(db, query, f", weights => {weights}::float[]") == wanted
    for targets in ("'[0:1]={t,p}'", "array[['t', 'p']]"):
        assert run(db, f"select count(*) from sidecar.search_targets('catalogue', %s, {targets}::text[])", query) == [
            (6,)
        ]


def test_any_number_of_rows_and_candidates_may_be_asked_for(db: Connection, encoder: HashEncoder) -> None:
    query = vector_literal(encoder, "red bicycle")
    wanted = found(db, query)
    for more in (", k => 2147483647", ", candidates => 2147483647", ", k => 600000000, candidates => 200000000"):
        assert found(db, query, more) == wanted


def test_the_filter_holds_in_every_target(db: Connection, encoder: HashEncoder) -> None:
    rows = found(db, vector_literal(encoder, "red bicycle"), """, filter => '{"tenant": 7}', candidates => 2""")
    assert set(rows) <= {1, 2, 5, 6}
    assert sorted(place for each in rows.values() for place in each[3].values() if place) == [1, 1, 2, 2]


def test_columns_are_those_that_all_targets_expose(db: Connection, encoder: HashEncoder) -> None:
    query = vector_literal(encoder, "red bicycle")
    rows = found(db, query, ", document => array['title']")
    assert rows[1][4] == {"title": "red bicycle", "tenant": 7}
    assert list(rows[1][4]) == ["title", "tenant"], "in the order of the first target"
    assert rows[1][5] == "red bicycle"
    assert found(db, query, ", columns => array['tenant']")[1][4] == {"tenant": 7}
    assert found(db, query, ", columns => '{}'")[1][4] == {}
    hint = "Its columns: id, title, tenant. To add one"
    with refused(db, "42703", "column 'price' is not exposed by all of these targets", hint):
        found(db, query, ", columns => array['price']")
    with refused(db, "42703", "column 'secret' is not exposed", "Its columns"):
        found(db, query, ", document => array['secret']")
    with refused(db, "42703", "column 'title' is asked for twice", ""):
        found(db, query, ", columns => array['title', 'title']")
    with refused(db, "42703", "column 'price' is not exposed", "Its columns: id, title, tenant"):
        found(db, query, """, filter => '{"price": 12}'""")


REFUSED: list[tuple[str, str, str, str]] = [
    ("'{}'", "22023", "0 targets are named", "Name 1 to 8 vector columns"),
    ("null", "22023", "0 targets are named", "Name 1 to 8 vector columns"),
    ("array['t', null]", "22023", "a target is NULL", "Name 1 to 8 vector columns"),
    ("array_fill('t'::text, array[9])", "22023", "9 targets are named", "Name 1 to 8 vector columns"),
    ("array['t', 'p', 't']", "22023", "target 't' is named twice", "Name it once"),
    ("array['t', 'q']", "42704", "table public.catalogue has no watch with target 'q'", "Its targets: 'p', 't'"),
    ("array['t', 'p'], 0", "22023", "k and candidates must be 1 or more", "They are 0, unset and 60"),
    ("array['t', 'p'], null", "22023", "k and candidates must be 1 or more", "They are NULL, unset and 60"),
    ("array['t', 'p'], candidates => 0", "22023", "k and candidates must be", "They are 10, 0 and 60"),
    ("array['t', 'p'], rrf_constant => -1", "22023", "rrf_constant 0 or more", "They are 10, unset and -1"),
    ("array['t', 'p'], weights => array[1]", "22023", "weights are .*, of 2 targets", "0 or more for each target"),
    ("array['t', 'p'], weights => array[0, 0]", "22023", "all weights are 0", "more than 0"),
    ("array['t', 'p'], weights => array[1, -1]", "22023", "weights are .*, of 2 targets", "0 or more"),
    ("array['t', 'p'], weights => array[1, null]", "22023", "weights are .*, of 2 targets", "0 or more"),
    ("array['t', 'p'], weights => array['nan', 1]::float[]", "22023", "weights are .*, of 2 targets", "0 or more"),
]


def test_what_cannot_be_searched_is_refused_in_words(db: Connection, encoder: HashEncoder) -> None:
    query = vector_literal(encoder, "red bicycle")
    for arguments, sqlstate, message, hint in REFUSED:
        with refused(db, sqlstate, message, hint):
            run(db, f"select sidecar.search_targets('catalogue', '{query}', {arguments})")


def test_targets_of_two_models_are_not_searched_together(db: Connection, encoder: HashEncoder) -> None:
    query = vector_literal(encoder, "red bicycle")
    run(db, "update sidecar_internal.watches set fingerprint = null where target = 'p'")
    assert len(found(db, query)) == 6, "of an empty watch the model is not known yet"
    run(db, "update sidecar_internal.watches set fingerprint = 'another' where target = 'p'")
    with refused(db, "22023", "targets 't' and 'p' hold vectors of two models", "Search them one by one"):
        found(db, query)
    run(db, f"select sidecar.watch('catalogue', 'title', 'wide', dimensions => {2 * DIMENSIONS})")
    with refused(db, "22023", "targets 't' and 'wide' hold vectors of two models", "Search them one by one"):
        run(db, "select sidecar.search_targets('catalogue', %s, array['wide', 't'])", query)


def test_settings_of_the_session_are_restored(db: Connection, encoder: HashEncoder) -> None:
    names = ("hnsw.iterative_scan", "hnsw.ef_search", "hnsw.max_scan_tuples")
    with db.transaction(force_rollback=True):
        run(db, "set local hnsw.iterative_scan = 'relaxed_order'; set local hnsw.ef_search = 77")
        found(db, vector_literal(encoder, "red bicycle"))
        assert [value(db, f"show {name}") for name in names] == ["relaxed_order", "77", "20000"]


def test_the_index_of_each_target_serves(db: Connection, encoder: HashEncoder) -> None:
    run(
        db,
        f"""
        set sidecar.writer = 'on';
        insert into catalogue (id, title, tenant, t) select n, 'item ' || n, n % 4,
            (select array_agg(sin(n * i)) from generate_series(1, {DIMENSIONS}) i)::vector
            from generate_series(100, 5000) n;
        insert into photo_vectors (id, p) select n,
            (select array_agg(cos(n * i)) from generate_series(1, {DIMENSIONS}) i)::vector
            from generate_series(100, 5000) n;
        create index t_hnsw on catalogue using hnsw ((t::halfvec({DIMENSIONS})) halfvec_cosine_ops);
        create index p_hnsw on photo_vectors using hnsw ((p::halfvec({DIMENSIONS})) halfvec_cosine_ops);
        analyze catalogue; analyze photo_vectors; set hnsw.iterative_scan = strict_order; set random_page_cost = 1.1
        """,
    )
    for condition in ({}, {"tenant": [1, 2, 3]}):
        statement = value(
            db,
            """
            select sidecar_internal.search_targets_statement(
                sidecar_internal.watches_of_targets('catalogue', array['t', 'p']), %s::jsonb, array['title'], '{}')
            """,
            json.dumps(condition),
        )
        run(db, f"prepare merged (text, float[], integer, integer, integer) as {statement}")
        query = "[" + ",".join(["0.5"] * DIMENSIONS) + "]"
        plan = "\n".join(
            line for (line,) in run(db, f"explain (costs off) execute merged ('{query}', '{{1,1}}', 40, 60, 10)")
        )
        assert "Index Scan using t_hnsw" in plan, plan
        assert "Index Scan using p_hnsw" in plan, plan
        assert "Seq Scan" not in plan, plan
        assert len(run(db, f"execute merged ('{query}', '{{1,1}}', 40, 60, 10)")) == 10
        run(db, "deallocate merged")


def test_a_text_is_embedded_with_the_model_of_the_targets(db: Connection, encoder: HashEncoder) -> None:
    """Here by the cache of query vectors, which needs no sidecar; tests/clients ask one."""
    cache = """
        insert into sidecar_internal.query_vectors (fingerprint, kind, digest, vector, deadline)
        values (%s, 'text', sha256('red bicycle'), %s::vector::real[], clock_timestamp())
    """
    run(db, cache, encoder.fingerprint, vector_literal(encoder, "red bicycle"))
    by_vector = found(db, vector_literal(encoder, "red bicycle"))
    assert found(db, "red bicycle") == by_vector
    run(db, "update sidecar_internal.watches set fingerprint = null where target = 't'")
    assert found(db, "red bicycle") == by_vector
    with refused(db, "55000", "sidecar.embed cannot ask within a statement yet", "call sidecar.enable_embed"):
        found(db, "a text that is not in the cache")
