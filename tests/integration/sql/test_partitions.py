"""Partitioned tables and single partitions: rows written through the tree or directly to a leaf."""

from __future__ import annotations

import pytest

from tests.integration.sql.queue import take_events, take_keys
from tests.integration.sql.session import Connection, run, value


@pytest.fixture
def tree(db: Connection) -> Connection:
    run(
        db,
        """
        create table tree (region text, id int, title text, price int, primary key (region, id))
            partition by list (region);
        create table tree_eu partition of tree for values in ('eu') partition by range (id);
        create table tree_eu_low partition of tree_eu for values from (0) to (100);
        create table tree_us partition of tree for values in ('us');
        """,
    )
    return db


def test_writes_through_the_parent_and_directly_to_a_leaf_are_enqueued(tree: Connection) -> None:
    watch_id = value(tree, "select sidecar.watch('tree', source => 'title', dimensions => 3)")
    run(tree, "insert into tree values ('eu', 1, 'a'), ('us', 1, 'b')")
    run(tree, "insert into tree_us values ('us', 2, 'c')")
    run(tree, "insert into tree_eu_low values ('eu', 2, 'd')")
    assert sorted(take_events(tree, watch_id, "k1, k2")) == [("eu", 1), ("eu", 2), ("us", 1), ("us", 2)]
    run(tree, "update tree set title = 'new' where id = 1")
    run(tree, "update tree_us set title = 'new' where id = 2")
    run(tree, "update tree set price = 1")
    assert sorted(take_events(tree, watch_id, "k1, k2")) == [("eu", 1), ("us", 1), ("us", 2)]
    run(tree, "delete from tree_us where id = 2")
    run(tree, "delete from tree where region = 'eu'")
    assert sorted(take_events(tree, watch_id, "k1, k2")) == [("eu", 1), ("eu", 2), ("us", 2)]


def test_a_row_that_moves_to_another_partition_is_enqueued_under_both_keys(tree: Connection) -> None:
    watch_id = value(tree, "select sidecar.watch('tree', source => 'title', dimensions => 3)")
    run(tree, "insert into tree values ('eu', 1, 'a')")
    take_events(tree, watch_id)
    run(tree, "update tree set region = 'us'")
    assert sorted(take_events(tree, watch_id, "k1, k2")) == [("eu", 1), ("us", 1)]


def test_writes_to_partitions_created_after_the_watch_are_enqueued(tree: Connection) -> None:
    watch_id = value(tree, "select sidecar.watch('tree', source => 'title', dimensions => 3)")
    run(tree, "create table tree_jp partition of tree for values in ('jp')")
    run(tree, "insert into tree_jp values ('jp', 1, 'a')")
    assert take_events(tree, watch_id, "k1, k2") == [("jp", 1)]


def test_a_truncate_of_the_tree_enqueues_one_event(tree: Connection) -> None:
    watch_id = value(tree, "select sidecar.watch('tree', source => 'title', dimensions => 3)")
    run(tree, "truncate tree")
    assert take_keys(tree, watch_id) == [None]


def test_a_watched_leaf_enqueues_writes_through_its_parent(tree: Connection) -> None:
    watch_id = value(tree, "select sidecar.watch('tree_us', source => 'title', target => 'e', companion => 'e_us')")
    run(tree, "insert into tree values ('us', 1, 'a'), ('eu', 1, 'b')")
    run(tree, "update tree set title = 'new'")
    run(tree, "delete from tree")
    assert take_events(tree, watch_id, "k1, k2") == [("us", 1)] * 3
    run(tree, "truncate tree")
    assert take_keys(tree, watch_id) == [None]


def test_an_update_by_a_before_trigger_on_one_partition_is_enqueued(tree: Connection) -> None:
    run(
        tree,
        """
        create function shout() returns trigger language plpgsql as $$
            begin new.title := 'costs ' || new.price; return new; end $$;
        create trigger shout before update on tree_us for each row execute function shout();
        """,
    )
    watch_id = value(tree, "select sidecar.watch('tree', source => 'title', dimensions => 3)")
    run(tree, "insert into tree values ('us', 1, 'x', 1)")
    take_events(tree, watch_id)
    run(tree, "update tree set price = 2")
    assert take_events(tree, watch_id, "k1, k2") == [("us", 1)]


def test_unwatch_leaves_no_trigger_on_any_partition(tree: Connection) -> None:
    value(tree, "select sidecar.watch('tree', source => 'title', dimensions => 3)")
    run(tree, "select sidecar.unwatch('tree')")
    assert value(tree, "select count(*) from pg_trigger where tgname like 'sidecar%'") == 0


def test_a_watched_table_attached_as_a_partition_stays_watched(tree: Connection) -> None:
    run(tree, "create table tree_jp (like tree including all)")
    call = "select sidecar.watch('tree_jp', source => 'title', target => 'e', companion => 'e_jp')"
    watch_id = value(tree, call)
    run(tree, "alter table tree attach partition tree_jp for values in ('jp')")
    run(tree, "insert into tree values ('jp', 1, 'a')")
    assert take_events(tree, watch_id, "k1, k2") == [("jp", 1)]
