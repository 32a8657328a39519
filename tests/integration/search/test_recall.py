"""sidecar.recall: what the index finds of an exact search."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest

from tests.integration.sql.session import Connection, another_session, run

_ROWS, _DIMENSIONS = 1500, 32
_RANDOM = f"array(select random() - 0.5 from generate_series(1, {_DIMENSIONS}) where n > 0)::vector"


def fill(db: Connection, companion: bool) -> None:
    """A watched table with random vectors and an HNSW index with few connections, which finds little."""
    run(db, "create table items (id int primary key, body text, tenant int)")
    where = ", companion => 'item_vectors'" if companion else ""
    run(db, f"select sidecar.watch('items', 'body', target => 'e', dimensions => {_DIMENSIONS}{where})")
    run(db, f"insert into items select n, 'text ' || n, n % 5 from generate_series(1, {_ROWS}) n")
    table = "item_vectors" if companion else "items"
    run(db, "set sidecar.writer = 'on'")
    if companion:
        run(db, f"insert into item_vectors select n, {_RANDOM} from generate_series(1, {_ROWS}) n")
    else:
        run(db, f"update items set e = {_RANDOM} from generate_series(1, {_ROWS}) n where n = id")
    run(db, "reset sidecar.writer")
    run(
        db,
        f"create index on {table} using hnsw ((e::halfvec({_DIMENSIONS})) halfvec_cosine_ops) "
        "with (m = 4, ef_construction = 8)",
    )
    run(db, f"analyze {table}")


@pytest.mark.parametrize("companion", [False, True], ids=["in-row", "companion"])
def test_a_wider_search_finds_more_up_to_nearly_all(db: Connection, companion: bool) -> None:
    fill(db, companion)
    lines = run(
        db,
        "select ef, recall, lowest, queries from sidecar.recall('items', ef_search => array[1000, 10], sample => 60)",
    )
    (narrow, narrow_recall, narrow_lowest, queries), (wide, wide_recall, _, _) = lines
    assert (narrow, wide, queries) == (10, 1000, 60)
    assert wide_recall > 0.95  # a graph with so few connections does not reach every row
    assert narrow_recall < wide_recall
    assert narrow_lowest <= narrow_recall


def test_a_filter_counts_only_rows_that_match_it(db: Connection) -> None:
    fill(db, companion=True)
    measure = """sidecar.recall('items', filter => '{"tenant": 3}', ef_search => array[400], sample => 20)"""
    [(recall, queries)] = run(db, f"select recall, queries from {measure}")
    assert (queries, recall > 0.95) == (20, True)


def test_settings_of_the_session_stay_as_they_were(db: Connection) -> None:
    fill(db, companion=False)
    names = ("enable_indexscan", "enable_seqscan", "hnsw.ef_search")
    settings = "select " + ", ".join(f"current_setting('{name}')" for name in names)
    run(db, "set hnsw.ef_search = 77; set enable_seqscan = off")
    [(used,)] = run(db, "select ef from sidecar.recall('items', sample => 2)")
    assert used == 77, "the session's own, where none is named"
    assert run(db, settings) == [("on", "off", "77")]


def test_without_an_index_there_is_nothing_to_measure(db: Connection) -> None:
    run(db, "create table bare (id int primary key, body text)")
    run(db, "select sidecar.watch('bare', 'body', target => 'e', dimensions => 8)")
    nothing = r"there is no index on public\.bare\.e to measure: not built yet"
    with pytest.raises(psycopg.Error, match=nothing) as raised:
        run(db, "select * from sidecar.recall('bare')")
    assert raised.value.diag.message_hint == "Without an index every search is exact."


def test_a_column_that_the_table_lacks_is_named(db: Connection) -> None:
    fill(db, companion=False)
    for search in ("sidecar.recall('items', filter => ", "sidecar.hybrid_search('items', null, 'text', filter => "):
        with pytest.raises(psycopg.errors.UndefinedColumn, match="no column 'tenent' to filter by") as raised:
            run(db, f"""select * from {search}'{{"tenent": 3}}')""")
        assert "Did you mean 'tenant'?" in str(raised.value.diag.message_hint)


KEPT = "select ef_search, k, recall, queries, measured_by, is_current from sidecar.measured_recall order by 1"


def test_it_agrees_with_brute_force_in_numpy(db: Connection) -> None:
    fill(db, companion=False)
    [(recall, queries)] = run(
        db, "select recall, queries from sidecar.recall('items', k => 5, ef_search => array[12], sample => 5000)"
    )
    assert queries == _ROWS, "with so large a sample every row is a query, and nothing is left to chance"
    rows = run(db, "select id, e::real[] from items order by id")
    ids, vectors = [row[0] for row in rows], np.array([row[1] for row in rows], dtype=np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact = np.argsort(-(vectors @ vectors.T), axis=1, kind="stable")[:, :6]
    run(db, "set enable_seqscan = off; set hnsw.ef_search = 12; set hnsw.iterative_scan = 'strict_order'")
    half = f"halfvec({_DIMENSIONS})"
    nearest = f"select n.id from items n order by n.e::{half} <=> i.e::{half} limit 6"
    near = run(db, f"select id, array({nearest}) from items i order by id")
    hits = sum(len({ids[n] for n in exact[row]} - {own} & set(found) - {own}) for row, (own, found) in enumerate(near))
    assert recall == pytest.approx(hits / (5 * _ROWS), abs=0.005)


def test_the_last_measurement_is_kept_and_shown_with_the_value_that_is_in_effect(db: Connection) -> None:
    fill(db, companion=False)
    run(db, "select * from sidecar.recall('items', k => 5, ef_search => array[10, 60, 400], sample => 10)")
    me = db.info.user
    kept = run(db, KEPT)
    assert [(ef, k, queries, by, current) for ef, k, _, queries, by, current in kept] == [
        (ef, 5, 10, me, True) for ef in (10, 60, 400)
    ]
    shown = "select recall, recall_k, recall_ef_search, recall_at is not null from sidecar.status"
    assert run(db, shown) == [(kept[0][2], 5, 10, True)], "40 is in effect, and 10 the next smaller one measured"
    run(db, f"alter database {db.info.dbname} set hnsw.ef_search = 60")
    assert run(db, shown) == [(kept[1][2], 5, 60, True)]
    run(db, "select * from sidecar.recall('items', k => 5, ef_search => array[60], sample => 7)")
    assert [(row[0], row[3]) for row in run(db, KEPT)] == [(10, 10), (60, 7), (400, 10)]
    run(db, "select * from sidecar.recall('items', k => 3, ef_search => array[60], sample => 7)")
    assert [row[:2] for row in run(db, KEPT)] == [(60, 3)], "figures of another k are not comparable"


@pytest.mark.parametrize(
    "change",
    [
        "reindex index items_e_idx",
        "update sidecar_internal.watches set fingerprint = 'another'",
        "drop index items_e_idx",
    ],
)
def test_a_measurement_of_another_index_or_model_is_not_shown(db: Connection, change: str) -> None:
    fill(db, companion=False)
    run(db, "select * from sidecar.recall('items', ef_search => array[40], sample => 5)")
    assert run(db, "select recall_ef_search from sidecar.status") == [(40,)]
    run(db, change)
    assert run(db, "select recall, recall_ef_search, recall_at from sidecar.status") == [(None, None, None)]
    assert [row[-1] for row in run(db, KEPT)] == [False]


def test_a_measurement_with_a_filter_is_not_kept(db: Connection) -> None:
    fill(db, companion=False)
    run(db, """select * from sidecar.recall('items', filter => '{"tenant": 3}', ef_search => array[40], sample => 5)""")
    assert run(db, KEPT) == []


def test_in_a_read_only_transaction_it_measures_and_says_that_nothing_is_kept(db: Connection) -> None:
    fill(db, companion=False)
    notices: list[str] = []
    db.add_notice_handler(lambda notice: notices.append(str(notice.message_primary)))
    run(db, "set default_transaction_read_only = on")
    assert len(run(db, "select * from sidecar.recall('items', sample => 5)")) == 1
    assert notices == ["the figures are not kept, because this transaction is read-only"]
    assert run(db, KEPT) == []


def test_the_search_of_rest_respects_a_larger_setting(db: Connection) -> None:
    fill(db, companion=False)
    vectors = [vector for (vector,) in run(db, "select e::real[] from items order by id limit 30")]

    def found() -> set[tuple[int, int]]:
        search = "select (key->>'id')::int from sidecar.search_exposed('items', %s::real[], k => 10)"
        return {(n, key) for n, vector in enumerate(vectors) for (key,) in run(db, search, vector)}

    exact = {
        (n, key)
        for n, vector in enumerate(vectors)
        for (key,) in run(db, "select id from items order by e <=> %s::real[]::vector limit 10", vector)
    }
    run(db, "set enable_seqscan = off")
    missed = exact - found()
    run(db, "set hnsw.ef_search = 1000")
    assert len(exact - found()) < len(missed)


def test_the_owner_of_the_database_may_run_what_doctor_prints_in_a_fresh_session(
    db: Connection, database_url: str
) -> None:
    """Postgres lets only a superuser set a parameter of a library that the session has not loaded."""
    fill(db, companion=False)
    script = str(run(db, "select sidecar_internal.scan_setting_statement('hnsw.ef_search', 120)")[0][0])
    role = f"owner_{db.info.dbname}"
    run(db, f"create role {role}")
    try:
        run(db, f"alter database {db.info.dbname} owner to {role}")
        with another_session(database_url) as fresh:
            run(fresh, f"set session authorization {role}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                run(fresh, script.splitlines()[1])
        with another_session(database_url) as fresh:
            run(fresh, f"set session authorization {role}")
            run(fresh, script)
        assert run(db, "select sidecar_internal.usual_ef_search()") == [(120,)]
    finally:
        run(db, f"alter database {db.info.dbname} owner to current_user; drop role {role}")


def test_a_reader_may_measure_and_is_told_that_nothing_is_kept(db: Connection, database_url: str) -> None:
    fill(db, companion=False)
    role = f"reader_{db.info.dbname}"
    run(db, f"create role {role}; select sidecar.grant_reader('{role}'); grant select on items to {role}")
    notices: list[tuple[str | None, str | None]] = []
    try:
        with another_session(database_url) as session:
            session.add_notice_handler(lambda n: notices.append((n.message_primary, n.message_hint)))
            run(session, f"set role {role}")
            assert len(run(session, "select * from sidecar.recall('items', sample => 5)")) == 1
            assert run(session, KEPT) == []
    finally:
        run(db, f"drop owned by {role}; drop role {role}")
    message = f"the figures are not kept for sidecar.status, because role {role} may not write them"
    assert notices == [(message, "A role with sidecar.grant_worker may.")]
