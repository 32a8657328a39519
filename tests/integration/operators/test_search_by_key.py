"""sidecar.search and sidecar_internal.show_row: keys and distances for programs, rows for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.integration.operators.healthy import make_healthy
from tests.integration.sql.session import Connection, refused, run, value

NEAREST = "select key, distance from sidecar.search('items', '[3, 1, 2]', target => 'e', k => 3)"


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        make_healthy(connection)
        yield connection


def test_it_finds_the_keys_nearest_to_a_vector_with_their_distances(db: Connection) -> None:
    found = run(db, NEAREST)
    expected = run(
        db, "select jsonb_build_object('id', id), e <=> '[3, 1, 2]' from items order by e <=> '[3, 1, 2]' limit 3"
    )
    assert [key for key, _ in found] == [key for key, _ in expected] == [{"id": 3}, {"id": 4}, {"id": 2}]
    assert [distance for _, distance in found] == pytest.approx([distance for _, distance in expected], abs=1e-3)


def test_it_scans_the_index_until_it_has_enough_rows_and_restores_the_session(db: Connection) -> None:
    run(
        db,
        """
        set sidecar.writer = 'on';
        insert into items select i, 'x', array[sin(i), cos(i), sin(7 * i)]::real[]::vector
            from generate_series(11, 200) i;
        reset sidecar.writer;
        set enable_seqscan = off
        """,
    )
    run(db, "set hnsw.iterative_scan = 'relaxed_order'")
    before = value(db, "select idx_scan from pg_stat_user_indexes where indexrelname = 'items_e_hnsw_1'")
    assert value(db, "select count(*) from sidecar.search('items', '[3, 1, 2]', target => 'e', k => 150)") == 150
    assert value(db, "show hnsw.iterative_scan") == "relaxed_order"
    run(db, "select pg_stat_force_next_flush()")
    scans = "select idx_scan from pg_stat_user_indexes where indexrelname = 'items_e_hnsw_1'"
    assert value(db, scans) == before + 1


def test_rows_of_a_companion_whose_source_is_gone_are_not_found(db: Connection) -> None:
    run(db, "set session_replication_role = replica; delete from items where id = 3")
    query = "select key from sidecar.search('items', '[3, 1, 2]', target => 'v', k => 2)"
    assert run(db, query) == [({"id": 4},), ({"id": 2},)]


def test_a_key_of_several_columns_comes_back_whole(db: Connection) -> None:
    run(db, 'create table parts (shop text, "Nr" int, title text, primary key (shop, "Nr"))')
    run(db, "select sidecar.watch('parts', 'title', target => 'e', dimensions => 3, index => 'vector')")
    run(db, "insert into parts values ('a', 1, 'x', '[1,0,0]'), ('b', 2, 'y', '[0,1,0]'), ('c', 3, 'z', null)")
    query = "select key, distance from sidecar.search('parts', '[0,1,0]')"
    assert run(db, query) == [({"shop": "b", "Nr": 2}, 0), ({"shop": "a", "Nr": 1}, 1)]


def test_invalid_searches_are_rejected(db: Connection) -> None:
    with refused(db, "22023", "k is 0", "Give the number of rows"):
        run(db, "select * from sidecar.search('items', '[1,2,3]', target => 'e', k => 0)")
    with refused(db, "42702", "has 2 watches", "Name the target"):
        run(db, "select * from sidecar.search('items', '[1,2,3]')")
    with refused(db, "22000", "different (halfvec )?dimensions|expected 3 dimensions", ""):
        run(db, "select * from sidecar.search('items', '[1,2]', target => 'e')")


def test_a_reader_finds_the_rows_that_its_rights_allow(db: Connection) -> None:
    role = f"reader_{db.info.dbname}"
    run(db, f"create role {role}; select sidecar.grant_reader('{role}'); grant select on items to {role}")
    try:
        run(db, f"set role {role}")
        assert run(db, NEAREST)[0][0] == {"id": 3}
        run(db, f"reset role; revoke select on items from {role}; set role {role}")
        with refused(db, "42501", "permission denied for table items", ""):
            run(db, NEAREST)
    finally:
        run(db, f"reset role; drop owned by {role}; drop role {role}")


def shown(db: Connection, key: str) -> Any:
    return value(db, "select sidecar_internal.show_row(w, %s) from sidecar_internal.get_watch('items', 'e') w", key)


def test_a_row_is_shown_without_vectors_and_a_bytea_by_its_length(db: Connection) -> None:
    run(db, "alter table items add photo bytea, add seen_at timestamptz, add tags text[]")
    run(db, "update items set photo = '\\x0102', tags = '{a,b}' where id = 3")
    row = shown(db, '{"id": 3}')
    assert row == [{"id": 3, "title": "item 3", "photo": {"bytes": 2}, "seen_at": None, "tags": ["a", "b"]}]
    assert list(row[0]) == ["id", "title", "photo", "seen_at", "tags"]
    assert shown(db, '{"id": 99}') is None


def test_a_row_of_very_many_columns_is_shown_in_order(db: Connection) -> None:
    run(db, "alter table items " + ", ".join(f"add c{n} int" for n in range(130)))
    columns = [name for part in shown(db, '{"id": 3}') for name in part]
    assert columns == ["id", "title", *(f"c{n}" for n in range(130))]
