"""Searches through an index of another method than HNSW: its settings, and the order of what it finds."""

from __future__ import annotations

import json
import re

import numpy as np
import psycopg
import pytest

from sidecar.operations.checkup import check_database
from sidecar.operations.findings import Limits
from tests.integration.sql.fake_methods import install_method
from tests.integration.sql.session import Connection, run, value

_DIMENSIONS, _ROWS, _LISTS = 8, 1000, 100
_RANDOM = f"array(select random() - 0.5 from generate_series(1, {_DIMENSIONS}) where n > 0)::vector"
SEARCHES = {
    "search": "select s.key->>'id', s.distance from sidecar.search('items', %s, {filter}k => 20) s",
    "search_page": "select s.key->>'id', s.distance "
    "from sidecar.search_page('items', %s::vector::real[], {filter}k => 20) s",
    "hybrid_search": "select s.key->>'id', s.distance "
    "from sidecar.hybrid_search('items', %s::vector, null, {filter}k => 20, candidates => 20) s",
}
FILTER = """filter => '{"tenant": 3}', """


def fill(db: Connection, index: str) -> None:
    """A watch with vectors in the row, the same ones each time, and its index as a sidecar would build it.

    Of other vectors two may be so close that the index, on halfvec, has them in another order than they have exactly.
    """
    run(db, "select setseed(0.25)")
    run(db, "create table items (id int primary key, body text, tenant int)")
    run(
        db,
        f"select sidecar.watch('items', 'body', target => 'e', dimensions => {_DIMENSIONS}, index => %s, "
        "expose => array['tenant'])",
        index,
    )
    run(db, f"insert into items select n, 'text ' || n, n % 50 from generate_series(1, {_ROWS}) n")
    run(
        db, f"set sidecar.writer = 'on'; update items set e = {_RANDOM} from generate_series(1, {_ROWS}) n where n = id"
    )
    statement = value(db, "select index_statement from sidecar.status")
    run(db, statement.replace("concurrently", ""))
    run(db, "analyze items; reset sidecar.writer; set enable_seqscan = off; set enable_sort = on")


@pytest.fixture
def ivfflat(db: Connection) -> Connection:
    fill(db, f"using ivfflat (e) with (lists = {_LISTS})")
    return db


def exact(db: Connection, vector: str, where: str = "true") -> list[str]:
    run(db, "set enable_indexscan = off")
    found = run(db, f"select id::text from items where {where} order by e <=> %s::vector limit 20", vector)
    run(db, "reset enable_indexscan")
    return [row[0] for row in found]


def scans(db: Connection) -> int:
    run(db, "select pg_stat_force_next_flush(); select pg_stat_clear_snapshot()")
    return int(value(db, "select idx_scan from pg_stat_all_indexes where indexrelname ~ '_e_(ivfflat|diskann)_'"))


@pytest.mark.parametrize("search", SEARCHES)
def test_searches_read_enough_lists_and_restore_the_settings(ivfflat: Connection, search: str) -> None:
    run(ivfflat, "set ivfflat.probes = 2")
    before = scans(ivfflat)
    shares = []
    for row in range(1, 11):
        vector = value(ivfflat, "select e::text from items where id = %s", row)
        found = run(ivfflat, SEARCHES[search].format(filter=""), vector)
        distances = [distance for _, distance in found]
        assert distances == sorted(distances)
        shares.append(len({key for key, _ in found} & set(exact(ivfflat, vector))) / 20)
    assert scans(ivfflat) > before
    assert np.mean(shares) > 0.35, "ten lists find half of the nearest, two about a fifth"
    settings = "select current_setting('ivfflat.probes'), current_setting('ivfflat.iterative_scan')"
    assert run(ivfflat, settings) == [("2", "off")]


@pytest.mark.parametrize("search", SEARCHES)
def test_the_scan_goes_on_until_enough_rows_meet_the_filter(ivfflat: Connection, search: str) -> None:
    vector = value(ivfflat, "select e::text from items where id = 7")
    found = run(ivfflat, SEARCHES[search].format(filter=FILTER), vector)
    assert [key for key, _ in found] == exact(ivfflat, vector, "tenant = 3")
    distances = [distance for _, distance in found]
    assert distances == sorted(distances)


@pytest.mark.parametrize(("of_session", "read"), [(2, 10), (30, 30)])
def test_the_square_root_of_the_lists_is_read_unless_the_session_wants_more(
    ivfflat: Connection, of_session: int, read: int
) -> None:
    run(ivfflat, f"set ivfflat.probes = {of_session}")
    probes = "select current_setting('ivfflat.probes')"
    with ivfflat.transaction():
        former = value(ivfflat, "select sidecar_internal.prepare_scan(w, true) from sidecar_internal.watches w")
        assert value(ivfflat, probes) == str(read)
    assert former == {
        "ivfflat.probes": str(of_session),
        "ivfflat.iterative_scan": "off",
        "hnsw.iterative_scan": "off",
    }
    assert value(ivfflat, probes) == str(of_session)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize(
    ("former", "wanted"), [("hnsw", "ivfflat"), ("using ivfflat with (lists = 100)", "hnsw"), ("ivfflat", "none")]
)
def test_the_former_index_is_searched_well_until_the_new_one_is_built(
    db: Connection, former: str, wanted: str, search: str
) -> None:
    fill(db, former)
    run(
        db,
        f"select sidecar.watch('items', 'body', target => 'e', dimensions => {_DIMENSIONS}, index => %s, "
        "expose => array['tenant'], replace => true)",
        wanted,
    )
    vector = value(db, "select e::text from items where id = 7")
    found = run(db, SEARCHES[search].format(filter=FILTER), vector)
    assert [key for key, _ in found] == exact(db, vector, "tenant = 3")


@pytest.mark.parametrize("by", ["skip", "after"])
def test_pages_of_a_filtered_search_have_each_row_once_in_order(ivfflat: Connection, by: str) -> None:
    """The index goes on after its first lists, and gives rows that are nearer than some before."""
    page_of = (
        "select key->>'id', place from sidecar.search_page('items', %s::vector::real[], k => 5, "
        """filter => '{"tenant": 3}', skip => %s, after => %s::text::jsonb)"""
    )
    for row in range(1, 11):
        vector = value(ivfflat, "select e::text from items where id = %s", row)
        found: list[str] = []
        place = None
        for number in range(4):
            page = run(
                ivfflat,
                page_of,
                vector,
                5 * number if by == "skip" else 0,
                json.dumps(place) if by == "after" and place else None,
            )
            found += [key for key, _ in page]
            place = max((place for _, place in page), key=lambda place: int(place["n"]))
        assert found == exact(ivfflat, vector, "tenant = 3")


@pytest.mark.parametrize("lists", ["1e2", "'100.0'", "' 100 '"])
def test_the_lists_may_be_spelled_as_postgres_takes_them(db: Connection, lists: str) -> None:
    fill(db, f"using ivfflat (e) with (lists = {lists})")
    vector = value(db, "select e::text from items where id = 7")
    assert len(run(db, SEARCHES["search"].format(filter=""), vector)) == 20
    run(db, "select * from sidecar.recall('items', sample => 5)")
    [(lists_of, graph_bytes)] = run(
        db,
        "select sidecar_internal.lists_of(w), sidecar_internal.graph_bytes(w, 1000) from sidecar_internal.watches w",
    )
    assert (lists_of, graph_bytes > 0) == (_LISTS, True)
    check_database(db, Limits())


@pytest.mark.parametrize("index", ["using ivfflat (e) with (lists = 2)", "using hnsw (e) with (m = 2)", "hnsw"])
def test_a_sidecar_keeps_the_index_that_doctor_would_build(db: Connection, index: str) -> None:
    """Of a watch with options of its own, doctor changes these: an index without them would be built again."""
    fill(db, index)
    statement = value(
        db,
        "select sidecar_internal.larger_index_statement(w, f.index) from sidecar_internal.watches w, "
        "sidecar_internal.find_index(w.relation, w.target) f",
    )
    run(db, statement.replace("concurrently", ""))
    left = value(db, "select index_statement from sidecar.status")
    if left is not None:
        run(db, left.replace("concurrently", ""))
    assert value(db, "select index_statement from sidecar.status") is None
    [options] = run(
        db,
        "select c.reloptions from pg_class c join pg_index i on i.indexrelid = c.oid "
        "where i.indrelid = 'items'::regclass and not i.indisprimary",
    )
    assert set(options[0]) in ({"lists=10"}, {"m=4", "ef_construction=128"}, {"m=32", "ef_construction=128"})


def test_a_session_that_asks_for_more_lists_gets_them(ivfflat: Connection) -> None:
    run(ivfflat, f"set ivfflat.probes = {_LISTS}")
    for row in range(1, 11):
        vector = value(ivfflat, "select e::text from items where id = %s", row)
        found = run(ivfflat, SEARCHES["search"].format(filter=""), vector)
        assert [key for key, _ in found] == exact(ivfflat, vector)


def test_recall_measures_by_lists_and_doctor_names_the_setting(ivfflat: Connection) -> None:
    lines = run(
        ivfflat,
        "select ef, recall from sidecar.recall('items', ef_search => array[1, 20, %s], sample => 30)",
        _LISTS,
    )
    (one, narrow), (_, _), (all_lists, wide) = lines
    assert (one, all_lists, wide) == (1, _LISTS, 1.0)
    assert narrow < 0.7
    [(shown, value_of)] = run(ivfflat, "select recall, recall_ef_search from sidecar.status")
    assert (shown, value_of) == (narrow, 1)
    [finding] = [f for f in check_database(ivfflat, Limits()).findings if f.check == "index_recall"]
    assert finding.what.startswith("with ivfflat.probes = 1 its index finds ")
    assert finding.remedy is not None
    assert "set ivfflat.probes = " in finding.remedy
    assert run(ivfflat, "select sidecar_internal.values_to_measure(w) from sidecar_internal.watches w") == [
        ([1, 5, 10, 20, 40],)
    ]


@pytest.mark.parametrize("search", SEARCHES)
def test_a_method_of_another_extension_is_searched_as_the_session_is_set(db: Connection, search: str) -> None:
    install_method(db, "diskann")
    fill(db, "diskann")
    before = scans(db)
    run(db, "set hnsw.ef_search = 400")  # the stand-in's own, as diskann.query_search_list_size would be
    vector = value(db, "select e::text from items where id = 7")
    found = [key for key, _ in run(db, SEARCHES[search].format(filter=""), vector)]
    assert len(set(found) & set(exact(db, vector))) >= 18
    assert scans(db) == before + 1
    assert run(db, "select current_setting('hnsw.ef_search'), current_setting('hnsw.iterative_scan')") == [
        ("400", "off")
    ]


def test_recall_of_a_method_without_a_known_setting_is_measured_once(db: Connection) -> None:
    install_method(db, "diskann")
    fill(db, "diskann")
    run(db, "set hnsw.ef_search = 400")
    [(ef, recall)] = run(
        db, "select ef, recall from sidecar.recall('items', ef_search => array[40, 100], sample => 10)"
    )
    assert (ef, recall > 0.9) == (0, True)
    assert run(db, "select recall, recall_ef_search from sidecar.status") == [(recall, 0)]
    assert not [f for f in check_database(db, Limits()).findings if f.check in {"index_recall", "maintenance_work_mem"}]


def test_doctor_knows_what_memory_an_ivfflat_index_takes(db: Connection) -> None:
    """As pgvector says it, which counts 50 rows a list, at least 10,000."""
    fill(db, "using ivfflat with (lists = 200)")
    run(db, f"create temp table many as select {_RANDOM}::halfvec({_DIMENSIONS}) as e from generate_series(1, 10000) n")
    run(db, "set maintenance_work_mem = '1MB'")
    with pytest.raises(psycopg.Error, match="memory required is") as refused, db.transaction():
        run(db, "create index on many using ivfflat (e halfvec_cosine_ops) with (lists = 200)")
    megabytes = int(re.findall(r"required is (\d+) MB", str(refused.value))[0])
    ours = value(db, "select sidecar_internal.graph_bytes(w, 10000) from sidecar_internal.watches w") / 2**20
    assert megabytes - 1.5 < ours < megabytes + 0.5
