"""A user's statement enqueues exactly the keys whose vectors it may have made stale."""

from __future__ import annotations

import pytest

from tests.integration.sql.case_blind_text import create_case_blind_text
from tests.integration.sql.queue import take_events, take_keys
from tests.integration.sql.session import Connection, refused, run, value


@pytest.fixture
def watch_id(db: Connection) -> int:
    run(db, "create table items (id bigint primary key, title text, brand text, price integer, stored text)")
    watch: int = value(
        db, "select sidecar.watch('items', source => array['title', 'brand'], target => 'embedding', dimensions => 3)"
    )
    run(db, "insert into items (id, title, brand) select i, 'title ' || i, 'brand' from generate_series(1, 5) i")
    take_keys(db, watch)
    return watch


def test_an_insert_enqueues_each_of_its_rows_once(db: Connection, watch_id: int) -> None:
    run(db, "insert into items (id, title) values (6, 'a'), (7, null), (8, '')")
    assert take_keys(db, watch_id) == [6, 7, 8]


def test_an_update_of_a_source_column_enqueues_the_rows_that_changed(db: Connection, watch_id: int) -> None:
    run(db, "update items set title = case when id < 3 then 'new' else title end")
    assert take_keys(db, watch_id) == [1, 2]
    run(db, "update items set brand = null where id = 4")
    assert take_keys(db, watch_id) == [4]


def test_an_update_of_a_source_column_to_the_same_value_enqueues_nothing(db: Connection, watch_id: int) -> None:
    run(db, "update items set title = title, brand = brand, id = id, price = 9")
    assert take_keys(db, watch_id) == []


def test_a_change_between_null_and_empty_is_enqueued(db: Connection, watch_id: int) -> None:
    run(db, "update items set title = null where id = 1")
    run(db, "update items set title = '' where id = 1")
    assert take_keys(db, watch_id) == [1, 1]


def test_a_delete_enqueues_each_of_its_rows_once(db: Connection, watch_id: int) -> None:
    run(db, "delete from items where id <= 2")
    assert take_keys(db, watch_id) == [1, 2]


def test_a_key_change_enqueues_both_keys(db: Connection, watch_id: int) -> None:
    run(db, "update items set id = 50 where id = 5")
    assert take_keys(db, watch_id) == [5, 50]


def test_a_truncate_enqueues_one_event_without_a_key(db: Connection, watch_id: int) -> None:
    run(db, "truncate items")
    assert take_keys(db, watch_id) == [None]


def test_a_rolled_back_statement_enqueues_nothing(db: Connection, watch_id: int) -> None:
    with refused(db, "22012", "division by zero", ""):
        run(db, "update items set title = 'new'")
        run(db, "select 1 / 0")
    assert take_keys(db, watch_id) == []


def test_a_statement_that_affects_no_row_enqueues_nothing(db: Connection, watch_id: int) -> None:
    run(db, "insert into items select 9, 'x' where false")
    run(db, "update items set title = 'x' where false")
    run(db, "delete from items where false")
    assert take_keys(db, watch_id) == []


def test_on_conflict_do_update_enqueues_inserted_and_updated_rows(db: Connection, watch_id: int) -> None:
    run(
        db,
        """
        insert into items (id, title, brand) values (1, 'title 1', 'brand'), (2, 'new', 'brand'), (6, 'six', 'brand')
        on conflict (id) do update set title = excluded.title
        """,
    )
    assert take_keys(db, watch_id) == [2, 6]


def test_merge_enqueues_inserted_updated_and_deleted_rows(db: Connection, watch_id: int) -> None:
    run(
        db,
        """
        merge into items using (values (1, 'new'), (2, null), (6, 'six')) as s (id, title) on items.id = s.id
        when matched and s.title is null then delete
        when matched then update set title = s.title
        when not matched then insert (id, title) values (s.id, s.title)
        """,
    )
    assert take_keys(db, watch_id) == [1, 2, 6]


def test_copy_enqueues_every_row(db: Connection, watch_id: int) -> None:
    with db.cursor().copy("copy items (id, title) from stdin") as copy:
        for i in range(10, 13):
            copy.write_row((i, f"title {i}"))
    assert take_keys(db, watch_id) == [10, 11, 12]


def test_writes_in_ctes_of_one_statement_are_all_enqueued(db: Connection, watch_id: int) -> None:
    run(
        db,
        """
        with gone as (delete from items where id = 1 returning *),
             came as (insert into items (id, title) select id + 100, title from gone),
             also as (insert into items (id, title) values (200, 'x'))
        update items set title = 'new' where id = 2
        """,
    )
    assert take_keys(db, watch_id) == [1, 2, 101, 200]


def test_foreign_key_cascades_are_enqueued(db: Connection, watch_id: int) -> None:
    run(
        db,
        """
        create table parts (item bigint references items on update cascade on delete cascade, n int, text text,
                            primary key (item, n))
        """,
    )
    parts = value(db, "select sidecar.watch('parts', source => 'text', dimensions => 3)")
    run(db, "insert into parts values (1, 1, 'a'), (1, 2, 'b'), (2, 1, 'c')")
    take_events(db, parts)
    run(db, "update items set id = 100 where id = 1")
    assert sorted(take_events(db, parts, "k1, k2")) == [(1, 1), (1, 2), (100, 1), (100, 2)]
    run(db, "delete from items where id in (2, 100)")
    assert sorted(take_events(db, parts, "k1, k2")) == [(2, 1), (100, 1), (100, 2)]


def test_an_update_of_other_columns_calls_no_trigger_function(db: Connection, watch_id: int) -> None:
    run(db, "set local track_functions = 'all'")
    calls = (
        "select "
        f"coalesce(sum(pg_stat_get_xact_function_calls('sidecar_internal.enqueue_{watch_id}_row()'::regprocedure)), 0)"
    )
    run(db, "update items set price = 1, stored = 'x'")
    assert value(db, calls) == 0
    run(db, "update items set title = 'new', price = 2 where id <= 3")
    assert value(db, calls) == 3


def test_events_of_triggers_are_live_and_have_their_time(db: Connection, watch_id: int) -> None:
    began = value(db, "select clock_timestamp()")
    run(db, "insert into items (id) values (6)")
    [(at, backfill, force, attempts, token)] = take_events(
        db, watch_id, "enqueued_at, backfill, force, attempts, lease_token"
    )
    assert began <= at <= value(db, "select clock_timestamp()")
    assert (backfill, force, attempts, token) == (False, False, 0, None)


def test_text_is_compared_as_bytes_not_by_its_types_equality(db: Connection) -> None:
    create_case_blind_text(db)
    run(db, "create table names (id int primary key, name case_blind)")
    watch_id = value(db, "select sidecar.watch('names', source => 'name', dimensions => 3)")
    run(db, "insert into names values (1, 'shoe')")
    take_keys(db, watch_id)
    assert value(db, "select name = 'SHOE' from names")
    run(db, "update names set name = 'SHOE'")
    assert take_keys(db, watch_id) == [1]


def test_a_source_that_a_before_trigger_changes_is_enqueued(db: Connection) -> None:
    run(
        db,
        """
        create table items (id int primary key, title text, price int);
        create function shout() returns trigger language plpgsql as $$
            begin new.title := 'costs ' || new.price; return new; end $$;
        create trigger shout before update on items for each row execute function shout();
        """,
    )
    watch_id = value(db, "select sidecar.watch('items', source => 'title', dimensions => 3)")
    run(db, "insert into items values (1, 'x', 1)")
    take_keys(db, watch_id)
    run(db, "update items set price = 2")
    assert take_keys(db, watch_id) == [1]
    run(db, "update items set price = 2")
    assert take_keys(db, watch_id) == []


def test_a_vector_that_a_before_trigger_overwrites_is_enqueued(db: Connection) -> None:
    run(
        db,
        """
        create table items (id int primary key, title text, price int, title_embedding vector(3));
        create function forget() returns trigger language plpgsql as $$
            begin new.title_embedding := null; return new; end $$;
        create trigger forget before update on items for each row execute function forget();
        insert into items values (1, 'x', 1, '[1,2,3]');
        """,
    )
    watch_id = value(db, "select sidecar.watch('items', source => 'title', dimensions => 3)")
    run(db, "update items set price = 2")
    assert take_events(db, watch_id, "k1, force") == [(1, True)]


@pytest.mark.parametrize("generated", ["stored", "virtual"])
def test_a_generated_source_is_enqueued_when_its_inputs_change(db: Connection, generated: str) -> None:
    if generated == "virtual" and db.info.server_version < 180000:
        pytest.skip("virtual generated columns came with Postgres 18")
    run(
        db,
        f"create table items (id int primary key, a text, b int, t text generated always as ('see ' || a) {generated})",
    )
    watch_id = value(db, "select sidecar.watch('items', source => 't', dimensions => 3)")
    run(db, "insert into items values (1, 'x', 1)")
    take_keys(db, watch_id)
    run(db, "update items set b = 2")
    assert take_keys(db, watch_id) == []
    run(db, "update items set a = 'y'")
    assert take_keys(db, watch_id) == [1]


def test_pictures_are_compared_as_bytes(db: Connection) -> None:
    run(db, "create table photos (id int primary key, photo bytea)")
    watch_id = value(db, "select sidecar.watch('photos', source => 'photo', dimensions => 3)")
    run(db, "insert into photos values (1, 'one'), (2, 'two')")
    take_keys(db, watch_id)
    run(db, "update photos set photo = 'one'")
    assert take_keys(db, watch_id) == [2]


def test_a_change_of_a_key_that_is_also_the_source_is_enqueued(db: Connection) -> None:
    run(db, "create table tags (name text primary key)")
    watch_id = value(db, "select sidecar.watch('tags', source => 'name', dimensions => 3)")
    run(db, "insert into tags values ('a')")
    run(db, "update tags set name = 'b'")
    assert take_keys(db, watch_id) == ["a", "a", "b"]


def test_two_watches_of_a_table_enqueue_changes_of_their_own_source_only(db: Connection, watch_id: int) -> None:
    other = value(db, "select sidecar.watch('items', source => 'stored', target => 'other', dimensions => 3)")
    run(db, "update items set title = 'x' where id = 1")
    run(db, "update items set stored = 'x' where id = 2")
    assert (take_keys(db, watch_id), take_keys(db, other)) == ([1], [2])
