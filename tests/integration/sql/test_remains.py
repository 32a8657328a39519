"""Whatever outlives a watch is named, with the statement that removes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.integration.sql.session import Connection, run, value

ITEMS = "create table items (id int primary key, title text)"
LEFT = """
    select c.relname::text from pg_class c where c.relname ~ '^vectors|hnsw'
    union all select a.attname from pg_attribute a where a.attrelid = 'items'::regclass and a.attname = 'e'
"""


@pytest.fixture
def db(committed: Connection) -> Connection:
    """A session that can drop indexes concurrently."""
    return committed


@contextmanager
def hints_of(db: Connection) -> Iterator[list[str]]:
    """The statements in the hints of the notices that the server sends during the block."""
    hints: list[str] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "NOTICE" and diagnostic.message_hint:
            hints.append(diagnostic.message_hint.removeprefix("To remove it: "))

    db.add_notice_handler(note)
    yield hints
    db.remove_notice_handler(note)


def build_index(db: Connection) -> None:
    for statement in value(db, "select index_statement from sidecar.status").split(";\n"):
        run(db, statement)


def make_watch(db: Connection, companion: str | None = None) -> None:
    run(db, "select sidecar.watch('items', 'title', target => 'e', dimensions => 3, companion => %s)", companion)
    build_index(db)


@pytest.mark.parametrize("companion", [None, "vectors"], ids=["in-row", "companion"])
@pytest.mark.parametrize(
    "table", [ITEMS, ITEMS + " partition by range (id); create table part partition of items default"], ids=["", "tree"]
)
def test_the_statements_that_unwatch_names_remove_vectors_and_index(
    db: Connection, table: str, companion: str | None
) -> None:
    run(db, table)
    make_watch(db, companion)
    with hints_of(db) as statements:
        run(db, "select sidecar.unwatch('items')")
    assert len(statements) == 2
    for statement in statements:
        run(db, statement)
    assert run(db, LEFT) == []
    run(db, "select sidecar.unwatch('items', drop_target => true)")
    assert value(db, "select count(*) from sidecar_internal.watches") == 0


def test_an_index_of_the_users_own_on_the_vectors_is_named_too(db: Connection) -> None:
    run(db, ITEMS)
    make_watch(db)
    run(db, "create index mine on items using hnsw (e vector_l2_ops)")
    with hints_of(db) as statements:
        run(db, "select sidecar.unwatch('items')")
    assert "drop index concurrently if exists public.mine;" in statements


def test_nothing_is_named_where_nothing_stays(db: Connection) -> None:
    run(db, ITEMS)
    make_watch(db, "vectors")
    with hints_of(db) as statements:
        run(db, "select sidecar.unwatch('items', drop_target => true)")
    assert statements == []


@pytest.mark.parametrize("companions", [(None, "vectors"), ("vectors", None)], ids=["to a companion", "to the row"])
def test_after_a_move_unwatch_names_both_homes(db: Connection, companions: tuple[str | None, str | None]) -> None:
    run(db, ITEMS)
    run(db, "insert into items values (1, 'a')")
    make_watch(db, companions[0])
    run(db, "update sidecar_internal.watches set fingerprint = 'f', encoder = 'm'")
    with hints_of(db) as moved:
        run(
            db,
            "select sidecar.watch('items', 'title', target => 'e', dimensions => 3, companion => %s, replace => true)",
            companions[1],
        )
    former = {None: "alter table public.items drop column e;", "vectors": "drop table public.vectors;"}
    assert any(hint.endswith(former[companions[0]]) for hint in moved)
    with hints_of(db) as statements:
        run(db, "select sidecar.unwatch('items', drop_target => true)")
    assert former[companions[0]] in statements
    for statement in statements:
        run(db, statement)
    assert run(db, LEFT) == []


def test_uninstall_names_what_stays_of_all_watches_and_a_right_that_workers_had(db: Connection) -> None:
    worker = f"worker_{db.info.dbname}"
    run(db, f"create role {worker}")
    try:
        run(db, "create schema shop; create table shop.items (id int primary key, title text)")
        run(db, "select sidecar.grant_worker(%s::text::regrole)", worker)
        run(db, ITEMS)
        make_watch(db)
        for target in ("e", "f"):
            run(db, "select sidecar.watch('shop.items', 'title', target => %s, dimensions => 3)", target)
        run(db, "select sidecar.unwatch('items')")
        with hints_of(db) as statements:
            run(db, "select sidecar.uninstall()")
        assert statements == [
            "drop index concurrently if exists public.items_e_hnsw_1;",
            "alter table public.items drop column e;",
            "alter table shop.items drop column e;",
            f"revoke usage on schema shop from {worker};",
            "alter table shop.items drop column f;",
            "drop extension vector;",
        ]
        for statement in statements:
            run(db, statement)
        assert run(db, LEFT) == []
    finally:
        run(db, f"drop role {worker}")  # refused while it has a right on anything


def test_the_right_on_a_schema_is_named_only_when_its_last_watch_ends(db: Connection) -> None:
    worker = f"worker_{db.info.dbname}"
    run(db, f"create role {worker}")
    try:
        run(db, "create schema shop; create table shop.items (id int primary key, title text)")
        run(db, "select sidecar.grant_worker(%s::text::regrole)", worker)
        for target in ("e", "f"):
            run(db, "select sidecar.watch('shop.items', 'title', target => %s, dimensions => 3)", target)
        revoke = f"revoke usage on schema shop from {worker};"
        with hints_of(db) as statements:
            run(db, "select sidecar.unwatch('shop.items', 'e')")
        assert revoke not in statements
        with hints_of(db) as statements:
            run(db, "select sidecar.unwatch('shop.items', 'f')")
        assert statements[-1] == revoke
    finally:
        run(db, f"drop owned by {worker}")
        run(db, f"drop role {worker}")
