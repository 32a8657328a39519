"""A companion: a separate table for the vectors, with the primary key of the watched table."""

from __future__ import annotations

import pytest

from tests.integration.sql.session import Connection, refused, run, value

WATCH = "select sidecar.watch('shop.items', 'title', target => 'e', companion => '{}', dimensions => 3)"


@pytest.fixture(autouse=True)
def _items(db: Connection) -> None:
    run(
        db,
        """
        create schema shop;
        create domain region as text not null check (value <> '');
        create table shop.items (region region collate "C", id numeric(9, 2), title text, primary key (region, id));
        """,
    )


def _columns(db: Connection, table: str) -> list[tuple[str, str, bool, str | None]]:
    rows = run(
        db,
        """
        select attname, format_type(atttypid, atttypmod), attnotnull,
               case when attcollation not in (0, 100) then attcollation::regcollation::text end
        from pg_attribute where attrelid = %s::regclass and attnum > 0 order by attnum
        """,
        table,
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def test_a_companion_is_created_in_the_tables_schema_with_its_key(db: Connection) -> None:
    watch_id = value(db, WATCH.format("vectors"))
    assert value(db, "select companion::text from sidecar_internal.watches where id = %s", watch_id) == "shop.vectors"
    assert _columns(db, "shop.vectors") == [
        ("region", "text", True, '"C"'),
        ("id", "numeric(9,2)", True, None),
        ("e", "vector(3)", True, None),
    ]
    assert value(db, "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'shop.vectors'::regclass "
                     "and contype = 'p'") == "PRIMARY KEY (region, id)"  # fmt: skip
    assert value(db, "select count(*) from pg_attribute where attrelid = 'shop.items'::regclass and attname = 'e'") == 0


def test_a_companions_name_may_be_qualified_and_quoted(db: Connection) -> None:
    run(db, 'create schema "Odd, Place"')
    run(db, WATCH.format('"Odd, Place"."the ""Vectors"""'))
    assert value(db, "select companion::text from sidecar_internal.watches") == '"Odd, Place"."the ""Vectors"""'


def test_unquoted_companion_names_are_folded_to_lower_case(db: Connection) -> None:
    run(db, WATCH.format("Vectors"))
    assert value(db, "select companion::text from sidecar_internal.watches") == "shop.vectors"


def test_an_existing_table_with_the_right_columns_is_used_as_companion(db: Connection) -> None:
    run(
        db,
        """
        create table shop.vectors (id numeric(9, 2), region text, e vector(3), n int not null default 0,
                                   primary key (region, id));
        insert into shop.vectors values (1, 'eu', '[1,2,3]');
        """,
    )
    run(db, WATCH.format("vectors"))
    assert value(db, "select e::text from shop.vectors") == "[1,2,3]"


KEY = "region text, id numeric(9, 2), primary key (region, id)"
MADE = "Name a table that does not exist: it is made"

REFUSALS = {
    "no key": ("create table shop.vectors (region text, id numeric(9, 2), e vector(3))", "vectors",
               "42P16", "has another primary key than shop.items", r"primary key \(region, id\)"),
    "key in another order": (
        "create table shop.vectors (region text, id numeric(9, 2), e vector(3), primary key (id, region))", "vectors",
        "42P16", "has another primary key", MADE),
    "key of another type": ("create table shop.vectors (region text, id bigint, e vector(3), primary key (region, id))",
                            "vectors", "42P16", "has another primary key", MADE),
    "no vector": (f"create table shop.vectors ({KEY})", "vectors", "42804", r"no column 'e' of type vector\(3\)", MADE),
    "other dimensions": (f"create table shop.vectors ({KEY}, e vector(4))", "vectors",
                         "42804", r"no column 'e' of type vector\(3\)", MADE),
    "more columns": (f"create table shop.vectors ({KEY}, e vector(3), owner text not null)", "vectors",
                     "42P16", "has column 'owner', which is NOT NULL and has no default", "the key and the vector"),
    "itself": ("alter table shop.items add e vector(3)", "items", "22023", "cannot be its own companion", MADE),
    "a view": ("create view shop.vectors as select 1", "vectors", "42809", "is a view, not a table", ""),
    "temporary": ("", "pg_temp.vectors", "42809", "is a temporary table", "permanent"),
    "ours": ("", "sidecar.vectors", "42809", 'belongs to schema "sidecar"', "of your own"),
    "too many dots": ("", "db.shop.vectors", "42602", "'db.shop.vectors' has too many dots", "schema.table"),
    "not a name": ("", "a b", "22023", "companion 'a b' is not the name of a table", '\'"a b"\''),
    "no schema": ("", "nowhere.vectors", "3F000", 'schema "nowhere" does not exist', "Create the schema"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_an_existing_table_with_other_columns_is_refused_as_companion(db: Connection, name: str) -> None:
    setup, companion, sqlstate, message, hint = REFUSALS[name]
    run(db, setup)
    with refused(db, sqlstate, message, hint):
        run(db, WATCH.format(companion))


def test_a_target_that_is_named_like_a_key_column_is_refused(db: Connection) -> None:
    with refused(db, "22023", "target 'id' is a key column", "a column of its own"):
        run(db, WATCH.format("vectors").replace("'e'", "'id'"))


def test_two_watches_cannot_share_a_companion(db: Connection) -> None:
    """Each would delete the rows of the other."""
    run(db, WATCH.format("vectors"))
    run(db, "alter table shop.vectors add f vector(3), alter e drop not null")
    with refused(
        db, "42710", "holds the vectors of another watch, on shop.items", "Name another one, or: select sidecar.unwatch"
    ):
        run(db, WATCH.format("vectors").replace("'e'", "'f'"))


def test_the_hint_about_a_former_watchs_companion_works(db: Connection) -> None:
    run(db, WATCH.format("vectors"))
    run(db, "select sidecar.unwatch('shop.items')")
    run(db, "create table shop.others (like shop.items including all)")
    other = WATCH.format("vectors").replace("items", "others")
    with refused(
        db, "42710", "holds the vectors of another watch", r"unwatch\('shop.items', 'e', drop_target => true\)"
    ):
        run(db, other)
    run(db, "select sidecar.unwatch('shop.items', 'e', drop_target => true)")
    run(db, other)


def test_a_dropped_companion_is_reported_and_watch_recreates_it(db: Connection) -> None:
    watch_id = value(db, WATCH.format("vectors"))
    run(db, "drop table shop.vectors cascade")
    assert "companion table is gone" in value(db, "select state from sidecar.status")
    with refused(db, "42710", "is already watched", "replace => true"):
        run(db, WATCH.format("vectors"))
    assert value(db, WATCH.format("vectors").replace("3)", "3, replace => true)")) == watch_id
    assert value(db, "select companion::text from sidecar_internal.watches") == "shop.vectors"


def test_a_companion_has_no_foreign_key_that_would_block_truncate_or_key_changes(db: Connection) -> None:
    run(db, WATCH.format("vectors"))
    run(db, "insert into shop.items values ('eu', 1, 'a')")
    run(db, "insert into shop.vectors values ('eu', 1, '[1,2,3]')")
    run(db, "update shop.items set id = 2")
    run(db, "truncate shop.items")
