"""The calls that sidecar.watch accepts and the objects it creates; repeating a call changes nothing."""

from __future__ import annotations

import pytest

from tests.integration.sql.queue import embed, run_a_sidecar, take_keys
from tests.integration.sql.session import Connection, refused, run, value, warnings_of

WATCH = "select sidecar.watch('items', source => 'title', target => 'e', dimensions => 3)"


@pytest.fixture
def items(db: Connection) -> Connection:
    run(db, "create table items (id bigint primary key, title text, brand text, price integer)")
    return db


def _type_of(db: Connection, table: str, column: str) -> str:
    type_: str = value(
        db,
        "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = %s::regclass and attname = %s",
        table,
        column,
    )
    return type_


def _everything(db: Connection) -> list[tuple[object, ...]]:
    """All objects and rows of a watch."""
    return run(
        db,
        """
        select 'watch', w::text from sidecar_internal.watches w union all select 'scan', s::text from
            sidecar_internal.scans s
        union all select 'class', c.oid || c.relname from pg_class c where relnamespace in ('sidecar'::regnamespace,
            'sidecar_internal'::regnamespace)
        union all select 'function', p.oid || p.proname from pg_proc p where pronamespace in ('sidecar'::regnamespace,
            'sidecar_internal'::regnamespace)
        union all select 'trigger', t.oid || t.tgname from pg_trigger t where tgname like 'sidecar%'
        order by 1, 2
        """,
    )


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("text", "text"),
        ("varchar(20)", "text"),
        ("char(9)", "text"),
        ("name", "text"),
        ("sku", "text"),
        ("short_sku", "text"),
        ("bytea", "image"),
        ("blob", "image"),
        ("small_blob", "image"),
    ],
)
def test_the_kind_of_a_watch_follows_from_the_source_type(db: Connection, type_: str, kind: str) -> None:
    run(
        db,
        """
        create domain sku as text not null default ''; create domain short_sku as sku check (length(value) < 9);
        create domain blob as bytea; create domain small_blob as blob check (octet_length(value) < 9);
        """,
    )
    run(db, f"create table things (id int primary key, x {type_})")
    watch_id = value(db, "select sidecar.watch('things', source => 'x', target => 'e')")
    assert value(db, "select kind from sidecar_internal.watches where id = %s", watch_id) == kind
    assert value(db, "select sidecar.watch('things', source => 'x', target => 'e', kind => %s)", kind) == watch_id
    run(db, "insert into things values (1, 'a')")
    run(db, "update things set x = 'b'")
    assert take_keys(db, watch_id) == [1, 1]


def test_a_missing_target_is_added_with_default_name_and_dimensions(items: Connection) -> None:
    run(items, "select sidecar.watch('items', 'title')")
    assert _type_of(items, "items", "title_embedding") == "vector(1152)"
    [(target, dimensions, index, companion, model)] = run(
        items, "select target, dimensions, index_kind, companion, model from sidecar_internal.watches"
    )
    assert (target, dimensions, index, companion, model) == ("title_embedding", 1152, "halfvec", None, None)


@pytest.mark.parametrize("type_", ["vector(3)", "vector"])
def test_an_existing_target_is_used_and_keeps_its_vectors(items: Connection, type_: str) -> None:
    run(items, f"alter table items add e {type_}")
    run(items, "insert into items values (1, 'a', 'b', 1, '[1,2,3]')")
    run(items, WATCH)
    assert _type_of(items, "items", "e") == type_
    assert value(items, "select e::text from items") == "[1,2,3]"


def test_existing_rows_are_left_to_the_backfill(items: Connection) -> None:
    run(items, "insert into items values (1, 'a')")
    watch_id = value(items, WATCH)
    assert take_keys(items, watch_id) == []
    assert run(
        items, "select purpose, last_key, force, finished_at from sidecar_internal.scans where watch_id = %s", watch_id
    ) == [("backfill", None, False, None)]


def test_the_same_call_again_changes_nothing(items: Connection) -> None:
    watch_id = value(items, WATCH)
    run(items, "insert into items values (1, 'a')")
    before = _everything(items)
    with warnings_of(items) as warnings:
        assert value(items, WATCH) == watch_id
    assert _everything(items) == before
    assert warnings == []


@pytest.mark.parametrize(
    "difference",
    ["source => 'brand'", "source => array['title', 'brand']", "source => 'title', model => 'm'",
     "source => 'title', index => 'none'", "source => 'title', companion => 'vectors'"],
)  # fmt: skip
def test_a_different_call_is_refused_without_replace(items: Connection, difference: str) -> None:
    watch_id = value(items, WATCH)
    call = f"select sidecar.watch('items', target => 'e', dimensions => 3, {difference}%s)"
    with refused(
        items, "42710", "public.items.e is already watched, with source {title}, companion none", "replace => true"
    ):
        run(items, call.replace("%s", ""))
    assert value(items, call.replace("%s", ", replace => true")) == watch_id
    assert value(items, call.replace("%s", "")) == watch_id


def test_other_dimensions_need_another_target_column(items: Connection) -> None:
    run(items, WATCH)
    with refused(items, "42804", "but the watch asks for 4 dimensions", "dimensions => 3"):
        run(items, WATCH.replace("3)", "4, replace => true)"))


def test_replace_watches_the_new_source_and_scans_again(items: Connection) -> None:
    watch_id = value(items, WATCH)
    run(items, "insert into items values (1, 'a', 'b')")
    run(items, "update sidecar_internal.scans set finished_at = now()")
    run(items, WATCH.replace("'title'", "'brand'").replace("3)", "3, replace => true)"))
    assert run(items, "select purpose, finished_at from sidecar_internal.scans order by 1") == [
        ("backfill", None),
        ("sweep", None),
    ]
    run(items, "update items set title = 'new'")
    assert take_keys(items, watch_id) == []
    run(items, "update items set brand = 'new'")
    assert take_keys(items, watch_id) == [1]


def test_replace_keeps_a_pause(items: Connection) -> None:
    run(items, WATCH)
    run(items, "select sidecar.pause('items')")
    run(items, WATCH.replace("'title'", "'brand'").replace("3)", "3, replace => true)"))
    assert value(items, "select paused from sidecar_internal.watches")


def test_two_watches_cannot_have_the_same_target(items: Connection) -> None:
    run(items, WATCH)
    run(items, "create table others (id bigint primary key, title text)")
    with refused(
        items, "42710", "'e' of public.items holds the vectors of another watch, on public.items", "Name another"
    ):
        run(items, "select sidecar.watch('others', 'title', target => 'e', companion => 'items', dimensions => 3)")


MENDED = [
    "drop trigger sidecar_{}_insert on items",
    "drop trigger sidecar_{}_target on items",
    "alter table items disable trigger all",
    "alter table items drop column e cascade",
    "update sidecar_internal.watches set broken = 'column gone'",
    "insert into sidecar_internal.breakages (watch_id, code, message) values ({}, '42703', 'column gone')",
    """
    create function stay() returns trigger language plpgsql as $$ begin return new; end $$;
    create trigger stay before update on items for each row execute function stay();
    """,
]


@pytest.mark.parametrize("fault", MENDED)
def test_repeating_the_call_repairs_missing_or_broken_objects(items: Connection, fault: str) -> None:
    watch_id = value(items, WATCH)
    run(items, "insert into items values (1, 'a')")
    run(items, fault.format(watch_id))
    assert value(items, "select state from sidecar.status").startswith("broken: ")
    assert value(items, WATCH) == watch_id
    run_a_sidecar(items)
    assert value(items, "select state from sidecar.status") == "backfilling"
    take_keys(items, watch_id)
    run(items, "insert into items values (2, 'b')")
    run(items, "update items set title = 'new'")
    run(items, "update items set e = '[1,2,3]' where id = 2")
    assert take_keys(items, watch_id) == [1, 2, 2, 2]


def test_watching_again_after_unwatch_reuses_the_ledger_only_after_the_backfill(items: Connection) -> None:
    watch_id = value(items, WATCH)
    run(items, "insert into items values (1, 'a')")
    embed(items, watch_id, 1)
    run(items, "update sidecar_internal.watches set fingerprint = 'f', encoder = 'm'")
    run(items, "select sidecar.unwatch('items')")
    run(items, "update items set title = 'changed unseen'")
    assert value(items, WATCH) == watch_id
    assert run(items, f"select k1, content_hash from sidecar_internal.ledger_{watch_id}") == [(1, b"h" * 32)]
    assert value(items, "select fingerprint from sidecar_internal.watches") == "f"
    with refused(items, "SC001", "was not embedded within 0 ms", "no sidecar is running"):
        run(items, """call sidecar.wait_embedded('items', '{"id": 1}', timeout_ms => 0)""")
    embed(items, watch_id, 1)
    run(items, """call sidecar.wait_embedded('items', '{"id": 1}', timeout_ms => 0)""")


def test_watching_again_with_another_key_discards_the_ledger(items: Connection) -> None:
    watch_id = value(items, WATCH)
    run(items, "insert into items values (1, 'a')")
    embed(items, watch_id, 1)
    run(items, "select sidecar.unwatch('items')")
    run(items, "alter table items drop constraint items_pkey; alter table items add primary key (id, title)")
    assert value(items, WATCH) == watch_id
    run(items, "insert into items values (1, 'b')")
    assert run(items, f"select k1, k2 from sidecar_internal.events_{watch_id}") == [(1, "b")]
    assert value(items, f"select count(*) from sidecar_internal.ledger_{watch_id}") == 0


def test_watching_again_with_other_dimensions_clears_the_old_vectors(items: Connection) -> None:
    run(items, "alter table items add e vector")
    watch_id = value(items, WATCH)
    run(items, "update sidecar_internal.watches set fingerprint = 'f', encoder = 'm'")
    run(items, WATCH.replace("=> 3", "=> 4, replace => true"))
    [(fingerprint, dimensions)] = run(items, "select fingerprint, dimensions from sidecar_internal.watches")
    assert (fingerprint, dimensions) == (None, 4)
    assert run(items, "select purpose from sidecar_internal.scans where watch_id = %s order by 1", watch_id) == [
        ("backfill",),
        ("clear",),
        ("sweep",),
    ]


def test_replace_with_another_model_acts_like_reembed(items: Connection) -> None:
    run(items, WATCH)
    run(items, "update sidecar_internal.watches set fingerprint = 'f', encoder = 'm'")
    run(items, WATCH.replace("3)", "3, model => 'm', replace => true)"))
    assert run(items, "select fingerprint, model from sidecar_internal.watches") == [("f", "m")]
    run(items, WATCH.replace("3)", "3, model => 'other', replace => true)"))
    assert run(items, "select fingerprint, model from sidecar_internal.watches") == [(None, "other")]
    assert run(items, "select purpose, force from sidecar_internal.scans order by 1") == [
        ("backfill", True),
        ("clear", False),
        ("sweep", False),
    ]


def test_watch_warns_about_an_index_on_a_frequently_updated_table(committed: Connection) -> None:
    run(committed, "create table items (id int primary key, title text, n int default 0)")
    run(committed, "insert into items select i, 'a' from generate_series(1, 6000) i")
    run(committed, "update items set n = 1")
    run(committed, "update items set n = 2")
    run(committed, "update items set n = 3")
    run(committed, "select pg_stat_force_next_flush()")
    with warnings_of(committed) as warnings:
        run(committed, WATCH.replace("3)", "3, index => 'none')"))
        run(committed, WATCH.replace("'e'", "'f'").replace("3)", "3, companion => 'c')"))
    assert warnings == []
    with warnings_of(committed) as warnings:
        run(committed, WATCH.replace("'e'", "'g'"))
    [warning] = warnings
    assert "has seen 18000 updates of 6000 rows" in warning
    assert "companion =>" in warning


def test_watch_warns_about_dimensions_that_no_running_model_has(items: Connection) -> None:
    """The default is 1152: with CLIP's 512 no row would ever be embedded, and only the state would show why."""
    run_a_sidecar(items, dimensions=512)
    with warnings_of(items) as warnings:
        run(items, "select sidecar.watch('items', 'title')")
    [warning] = warnings
    assert "no running sidecar makes vectors of 1152 dimensions (m makes 512): nothing will be embedded" in warning
    assert "Say dimensions =>" in warning
    with warnings_of(items) as warnings:
        run(items, "select sidecar.watch('items', 'title', target => 'e', dimensions => 512)")
    assert warnings == []


def test_watch_warns_about_a_pgvector_version_with_known_bugs(items: Connection) -> None:
    run(items, "update pg_extension set extversion = '0.8.3' where extname = 'vector'")
    with warnings_of(items) as warnings:
        run(items, WATCH)
    [warning] = warnings
    assert warning.startswith("pgvector 0.8.3 has known faults")


@pytest.mark.parametrize("version", ["0.8.5.google-4", "0.8.5-dev", "1.0"])
def test_a_vendors_pgvector_version_is_parsed_by_its_numbers(items: Connection, version: str) -> None:
    run(items, f"update pg_extension set extversion = '{version}' where extname = 'vector'")
    with warnings_of(items) as warnings:
        run(items, WATCH)
    assert warnings == []


def test_a_watch_in_a_rolled_back_transaction_leaves_nothing(items: Connection) -> None:
    before = _everything(items)
    with items.transaction(force_rollback=True):
        run(items, WATCH)
    assert _everything(items) == before
