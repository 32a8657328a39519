"""Calls of watch that are refused before anything changes, with SQLSTATE, message and hint."""

from __future__ import annotations

import pytest

from tests.integration.sql.case_blind_text import create_case_blind_text
from tests.integration.sql.refusals import ITEMS, REFUSALS, Refusal
from tests.integration.sql.session import Connection, refused, run, value


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_a_refused_watch_leaves_nothing_behind(db: Connection, refusal: Refusal) -> None:
    run(db, ITEMS)
    run(db, refusal.setup)
    with refused(db, refusal.sqlstate, refusal.message, refusal.hint):
        run(db, refusal.call)
    assert value(db, "select count(*) from sidecar_internal.watches") == 0
    assert value(db, "select count(*) from pg_trigger where tgname like 'sidecar%'") == 0


def test_a_key_compared_by_an_extensions_operator_is_refused(db: Connection) -> None:
    create_case_blind_text(db)
    run(db, "create table users (region int, email case_blind, bio text, primary key (region, email))")
    with refused(db, "0A000", "key column public.users.email has type public.case_blind, which cannot", "bigint, uuid"):
        run(db, "select sidecar.watch('users', 'bio')")


@pytest.mark.parametrize("type_", ["integer[]", "pair", "pairs"])
def test_a_composite_or_array_key_column_is_refused(db: Connection, type_: str) -> None:
    run(db, "create type pair as (x int, y int); create domain pairs as int[]")
    run(db, f"create table things (id {type_} primary key, title text)")
    with refused(db, "0A000", "key column public.things.id has type", "of several such columns"):
        run(db, "select sidecar.watch('things', 'title')")


def test_only_the_owner_may_watch(db: Connection) -> None:
    run(db, ITEMS)
    run(
        db,
        """
        create role "the owner"; create role clerk;
        grant all on schema sidecar, sidecar_internal to clerk;
        grant all on all tables in schema sidecar, sidecar_internal to clerk;
        grant all on all routines in schema sidecar, sidecar_internal to clerk;
        grant all on items to clerk;
        alter table items owner to "the owner";
        set local role clerk;
        """,
    )
    with refused(
        db, "42501", 'only the owner of public.items can watch it, and role "clerk" is not', 'set role "the owner"'
    ):
        run(db, "select sidecar.watch('items', 'title')")


def test_without_pgvector_the_error_says_how_to_get_it(db: Connection) -> None:
    run(db, ITEMS)
    run(db, "drop extension vector cascade")
    with refused(db, "42704", "pgvector extension is not installed in database", "create extension vector;"):
        run(db, "select sidecar.watch('items', 'title')")


def test_an_old_pgvector_is_refused(db: Connection) -> None:
    run(db, ITEMS)
    run(db, "update pg_extension set extversion = '0.7.4' where extname = 'vector'")
    with refused(db, "0A000", "pgvector 0.7.4 is too old: 0.8.0", "alter extension vector update;"):
        run(db, "select sidecar.watch('items', 'title')")
