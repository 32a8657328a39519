"""`sidecar.watch(…, expose => …)`: what searches may return, and who may read it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.integration.sql.queue import finish_backfill, take_keys
from tests.integration.sql.session import Connection, refused, run, value, warnings_of

TABLE = """
    create type colour as enum ('red', 'blue');
    create domain photo as bytea;
    create table items (id bigint primary key, title text, price numeric, hue colour, raw bytea, photo photo,
                        scans bytea[], other vector(3));
"""
WATCH = "select sidecar.watch('items', 'title', target => 'e', dimensions => 3{0})"
EXPOSE = "select expose from sidecar_internal.watches where target = 'e'"


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        run(connection, TABLE)
        yield connection


def watch(db: Connection, arguments: str = "") -> int:
    return int(value(db, WATCH.format(f", {arguments}" if arguments else "")))


def test_a_watch_exposes_nothing_by_default(db: Connection) -> None:
    watch(db)
    assert value(db, EXPOSE) == []
    watch(db, "expose => null")
    assert value(db, EXPOSE) == []


def test_each_watch_exposes_its_columns_in_the_given_order(db: Connection) -> None:
    watch(db, "expose => array['price', 'hue', 'title']")
    assert value(db, EXPOSE) == ["price", "hue", "title"]
    run(db, "select sidecar.watch('items', array['title'], target => 'f', dimensions => 3, expose => array['hue'])")
    assert value(db, "select expose from sidecar_internal.watches where target = 'f'") == ["hue"]


def test_repeating_the_call_changes_nothing_and_other_columns_need_replace(db: Connection) -> None:
    watch_id = watch(db, "expose => array['price']")
    finish_backfill(db, watch_id)
    before = run(db, "select w, w.xmin::text from sidecar_internal.watches w")
    assert watch(db, "expose => array['price']") == watch_id
    assert run(db, "select w, w.xmin::text from sidecar_internal.watches w") == before
    for other in ("", "expose => array['price', 'hue']", "expose => '{}'"):
        with refused(db, "42710", r"is already watched, with .*, expose \{price\}", "replace => true"):
            watch(db, other)


def test_changing_the_list_needs_no_backfill(db: Connection) -> None:
    watch_id = watch(db, "expose => array['price']")
    finish_backfill(db, watch_id)
    generation = value(db, "select truncated_gen from sidecar_internal.watches")
    assert watch(db, "expose => array['hue'], replace => true") == watch_id
    assert value(db, EXPOSE) == ["hue"]
    assert value(db, "select truncated_gen from sidecar_internal.watches") == generation
    assert value(db, "select bool_and(finished_at is not null) from sidecar_internal.scans")


REFUSED = [
    ("array['nope']", "42703", "no column 'nope'"),
    ("array['ctid']", "42703", "no column 'ctid'"),
    ("array[null]::text[]", "42703", "no column NULL"),
    ("array['price', 'price']", "42701", "'price' is exposed twice"),
    ("array['raw']", "42804", "type bytea, which a search does not show"),
    ("array['photo']", "42804", "type public.photo, which"),
    ("array['scans']", "42804", r"type bytea\[\], which"),
    ("array['other']", "42804", r"vector\(3\), which"),
    ("array[['price', 'hue']]", "0A000", "multidimensional"),
]


def test_columns_that_cannot_be_exposed_are_rejected(db: Connection) -> None:
    for columns, sqlstate, message in REFUSED:
        with refused(db, sqlstate, message, ""):
            watch(db, f"expose => {columns}")
    assert value(db, "select count(*) from sidecar_internal.watches") == 0


def test_a_watch_of_pictures_exposes_the_picture_that_it_embeds_and_no_other(db: Connection) -> None:
    for source, other in (("raw", "photo"), ("photo", "raw")):
        options = f"target => 'of_{source}', dimensions => 3"
        call = f"select sidecar.watch('items', '{source}', {options}, expose => array[%s])"
        with refused(db, "42804", f"column '{other}' of public.items has type", "only the one that the watch embeds"):
            run(db, call % f"'{other}'")
        with refused(db, "42804", f"column '{source}' of public.items has type", ""):
            run(db, call % f"'{source}', '{source}'")
        watch_id = value(db, call % f"'price', '{source}', 'title'")
        assert value(db, call % f"'price', '{source}', 'title'") == watch_id
        w = f"from sidecar_internal.watches w where w.id = {watch_id}"
        assert value(db, f"select expose {w}") == ["price", source, "title"]
        assert value(db, f"select sidecar_internal.exposed_columns(w) {w}") == ["price", "title"]
        assert value(db, f"select sidecar_internal.exposes_picture(w) {w}")
        again = value(db, f"select sidecar_internal.watch_statement(w) {w}")
        assert f"expose => array['price', '{source}', 'title']" in again


def test_a_dropped_column_is_no_longer_exposed_and_blocks_nothing(db: Connection) -> None:
    watch_id = watch(db, "expose => array['price', 'hue']")
    run(db, "alter table items drop column price")
    run(db, "insert into items (id, title) values (1, 'a')")
    assert take_keys(db, watch_id) == [1]
    assert value(db, "select sidecar_internal.exposed_columns(w) from sidecar_internal.watches w") == ["hue"]
    assert not value(db, "select state like 'broken%' from sidecar.status")
    assert value(db, "select sidecar_internal.watch_statement(w) from sidecar_internal.watches w").endswith(
        "expose => array['hue'])"
    )
    watch(db, "expose => array['hue']")  # the remaining column, without replace
    assert value(db, EXPOSE) == ["hue"]


def test_a_renamed_column_must_be_exposed_by_its_new_name(db: Connection) -> None:
    watch(db, "expose => array['price']")
    run(db, "alter table items rename price to cost")
    assert value(db, "select sidecar_internal.exposed_columns(w) from sidecar_internal.watches w") == []
    watch(db, "expose => array['cost'], replace => true")
    assert value(db, "select sidecar_internal.exposed_columns(w) from sidecar_internal.watches w") == ["cost"]


def test_watching_again_replaces_the_exposed_columns(db: Connection) -> None:
    watch(db, "expose => array['price']")
    run(db, "select sidecar.unwatch('items', 'e')")
    watch(db, "expose => array['hue']")
    assert value(db, EXPOSE) == ["hue"]
    run(db, "select sidecar.unwatch('items', 'e')")
    watch(db)
    assert value(db, EXPOSE) == []


def test_workers_may_read_a_column_while_it_is_exposed(db: Connection) -> None:
    worker = f"worker_{db.info.dbname}"
    run(db, f"create role {worker}; select sidecar.grant_worker('{worker}')")

    def readable() -> list[str]:
        query = (
            "select attname from pg_attribute where attrelid = 'items'::regclass and attnum > 0 and not attisdropped"
            " and has_column_privilege(%s, attrelid, attnum, 'select') order by attnum"
        )
        return [name for (name,) in run(db, query, worker)]

    try:
        watch(db, "expose => array['price', 'hue']")
        assert readable() == ["id", "title", "price", "hue", "e"]
        watch(db, "expose => array['hue'], replace => true")
        assert readable() == ["id", "title", "hue", "e"]
        run(db, f"revoke select (hue) on items from {worker}")
        watch(db, "expose => array['hue']")  # the same call repairs it
        assert readable() == ["id", "title", "hue", "e"]
        run(db, "select sidecar.unwatch('items', 'e')")
        assert readable() == []
    finally:
        run(db, "select sidecar.unwatch(relation, target) from sidecar_internal.watches where unwatched_at is null")
        run(db, f"drop owned by {worker}; drop role {worker}")


def test_without_grant_options_the_error_names_the_owners_statement(db: Connection) -> None:
    worker, deployer = (f"{role}_{db.info.dbname}" for role in ("worker", "deployer"))
    run(db, f"create role {worker}; create role {deployer}; select sidecar.grant_worker('{worker}')")
    watch(db)
    try:
        run(db, "update sidecar_internal.watches set expose = '{price}'")
        run(
            db,
            f"grant usage on schema sidecar, sidecar_internal to {deployer}; grant all on all tables in schema "
            f"sidecar, sidecar_internal to {deployer}",
        )
        run(db, f"grant execute on all routines in schema sidecar, sidecar_internal to {deployer}; set role {deployer}")
        with warnings_of(db) as warnings:
            run(db, "select sidecar_internal.grant_table(w) from sidecar_internal.watches w")
        assert any(
            "searches of public.items cannot show price yet" in said
            and f"run: grant select (price) on public.items to {worker}" in said
            for said in warnings
        ), warnings
    finally:
        run(db, "reset role; select sidecar.unwatch('items', 'e')")
        run(db, "".join(f"drop owned by {name} cascade; drop role {name};" for name in (worker, deployer)))
