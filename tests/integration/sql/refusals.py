"""Calls of sidecar.watch that must be rejected, each with SQLSTATE, message and hint."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """`call` after `setup` must fail with the other fields."""

    name: str
    setup: str
    call: str
    sqlstate: str
    message: str
    hint: str


ITEMS = """
create domain blob as bytea;
create domain small_blob as blob check (octet_length(value) < 10);
create table items (id bigint primary key, title text, brand text, photo bytea, price integer, tags text[], doc jsonb,
                    other_photo small_blob);
"""
WATCH = "select sidecar.watch('items', {})"

REFUSALS = [
    # The table
    Refusal(
        "no table", "", "select sidecar.watch('nothing', 'title')", "42P01", 'relation "nothing" does not exist', ""
    ),
    Refusal(
        "null table", "", "select sidecar.watch(null, 'title')", "42P01", "there is no table NULL", "Name an existing"
    ),
    Refusal(
        "no primary key",
        "create table bare (title text)",
        "select sidecar.watch('bare', 'title')",
        "42P16",
        "table public.bare has no primary key",
        "alter table public.bare add column id bigint generated",
    ),
    Refusal(
        "only unique",
        "create table bare (id int unique not null, title text)",
        "select sidecar.watch('bare', 'title')",
        "42P16",
        "has no primary key",
        "add column id",
    ),
    Refusal(
        "view",
        "create view seen as select * from items",
        "select sidecar.watch('seen', 'title')",
        "42809",
        "public.seen is a view, not a table",
        "watch the table behind it",
    ),
    Refusal(
        "materialized view",
        "create materialized view seen as select * from items",
        "select sidecar.watch('seen', 'title')",
        "42809",
        "is a materialized view, not a table",
        "watch the table behind it",
    ),
    Refusal(
        "foreign table",
        """
        create foreign data wrapper nowhere; create server far foreign data wrapper nowhere;
        create foreign table remote (id int, title text) server far
        """,
        "select sidecar.watch('remote', 'title')",
        "42809",
        "is a foreign table, not a table",
        "in the database it lives in",
    ),
    Refusal("sequence", "create sequence s", "select sidecar.watch('s', 'title')", "42809", "is a sequence", ""),
    Refusal(
        "temporary",
        "create temp table passing (id int primary key, title text)",
        "select sidecar.watch('passing', 'title')",
        "42809",
        "is a temporary table",
        "permanent table",
    ),
    Refusal(
        "ours",
        "",
        "select sidecar.watch('sidecar_internal.watches', 'target')",
        "42809",
        'belongs to schema "sidecar_internal"',
        "of your own",
    ),
    Refusal(
        "catalogue",
        "",
        "select sidecar.watch('pg_class', 'relname')",
        "42809",
        'belongs to schema "pg_catalog"',
        "",
    ),
    Refusal(
        "inheritance parent",
        "create table child () inherits (items)",
        WATCH.format("'title'"),
        "42809",
        "takes part in table inheritance",
        "declarative partitioning",
    ),
    Refusal(
        "inheritance child",
        "create table child (primary key (id)) inherits (items)",
        "select sidecar.watch('child', 'title')",
        "42809",
        "takes part in table inheritance",
        "declarative partitioning",
    ),
    # The source
    Refusal("no source", "", WATCH.format("array[]::text[]"), "22023", "source names no column", "source => 'photo'"),
    Refusal("null source", "", WATCH.format("null::text"), "22023", "source names no column", "source => 'photo'"),
    Refusal("null among", "", WATCH.format("array['title', null]"), "22023", "source names no column", ""),
    Refusal("unknown source", "", WATCH.format("'titel'"), "42703", "has no column 'titel'", "case-sensitive"),
    Refusal("other case", "", WATCH.format("'Title'"), "42703", "has no column 'Title'", "as \\\\d shows them"),
    Refusal("system column", "", WATCH.format("'ctid'"), "42703", "has no column 'ctid'", ""),
    Refusal(
        "dropped source",
        "alter table items drop column brand",
        WATCH.format("'brand'"),
        "42703",
        "has no column 'brand'",
        "",
    ),
    Refusal(
        "number", "", WATCH.format("'price'"), "42804", "items.price has type integer, which holds neither", "bytea"
    ),
    Refusal("array", "", WATCH.format("'tags'"), "42804", "has type text\\[\\], which holds neither", "bytea"),
    Refusal("json", "", WATCH.format("'doc'"), "42804", "has type jsonb, which holds neither", "bytea"),
    Refusal(
        "text and picture",
        "",
        WATCH.format("array['title', 'photo']"),
        "42804",
        "mixes pictures",
        "by itself",
    ),
    Refusal(
        "two pictures",
        "",
        WATCH.format("array['photo', 'other_photo']"),
        "42804",
        "mixes pictures",
        "by itself",
    ),
    Refusal("kind", "", WATCH.format("'title', kind => 'audio'"), "22023", "kind is 'audio'", "'text' or 'image'"),
    Refusal(
        "text as image",
        "",
        WATCH.format("'title', kind => 'image'"),
        "42804",
        "kind is 'image', but .* holds text",
        "'text'",
    ),
    Refusal(
        "image as text",
        "",
        WATCH.format("'photo', kind => 'text'"),
        "42804",
        "kind is 'text', but .* holds bytea",
        "'image'",
    ),
    # The target
    Refusal(
        "wrong type",
        "alter table items add e real[]",
        WATCH.format("'title', target => 'e'"),
        "42804",
        "items.e has type real\\[\\], not vector\\(1152\\)",
        "Name another target",
    ),
    Refusal(
        "a halfvec column as vector",
        "alter table items add e halfvec(1152)",
        WATCH.format("'title', target => 'e', storage => 'vector'"),
        "42804",
        "items.e has type .*halfvec\\(1152\\), but the watch asks for storage 'vector'",
        "Say storage => 'halfvec', or run: alter table public.items alter column e type public.vector\\(1152\\);",
    ),
    Refusal(
        "a vector column as halfvec",
        "alter table items add e vector(1152)",
        WATCH.format("'title', target => 'e', storage => 'halfvec'"),
        "42804",
        "items.e has type .*vector\\(1152\\), but the watch asks for storage 'halfvec'",
        "Say storage => 'vector', or run: alter table public.items alter column e type public.halfvec\\(1152\\);",
    ),
    Refusal(
        "a companion of the other type",
        "create table vectors (id bigint primary key, e vector(1152) not null)",
        WATCH.format("'title', target => 'e', companion => 'vectors', storage => 'halfvec'"),
        "42804",
        "companion table public.vectors has no column 'e' of type halfvec\\(1152\\)",
        "Say storage => 'vector', or run: alter table public.vectors alter column e type public.halfvec\\(1152\\);",
    ),
    Refusal(
        "a halfvec column without dimensions",
        "alter table items add e halfvec",
        WATCH.format("'title', target => 'e'"),
        "42804",
        "items.e has no dimensions, so it cannot have an index on halfvec",
        "alter column e type public.halfvec\\(1152\\); or say index => 'none'",
    ),
    Refusal(
        "an index on vector over halfvec",
        "alter table items add e halfvec(1152)",
        WATCH.format("'title', target => 'e', index => 'vector'"),
        "22023",
        "storage is 'halfvec', but index is 'vector'",
        "index => 'halfvec'",
    ),
    Refusal(
        "wrong dimensions",
        "alter table items add e vector(768)",
        WATCH.format("'title', target => 'e'"),
        "42804",
        "has type .*vector\\(768\\), but the watch asks for 1152",
        "Say dimensions => 768",
    ),
    Refusal(
        "no dimensions",
        "alter table items add e vector",
        WATCH.format("'title', target => 'e', index => 'vector'"),
        "42804",
        "has no dimensions",
        "alter column e type public.vector\\(1152\\)",
    ),
    Refusal(
        "not null",
        "alter table items add e vector(1152) not null",
        WATCH.format("'title', target => 'e'"),
        "42P16",
        "items.e is NOT NULL",
        "alter table public.items alter column e drop not null;",
    ),
    Refusal(
        "generated",
        "alter table items add e vector(1152) generated always as (null) stored",
        WATCH.format("'title', target => 'e'"),
        "42P16",
        "items.e is part of the key or generated",
        "another target",
    ),
    Refusal(
        "key",
        "",
        WATCH.format("'title', target => 'id'"),
        "42P16",
        "items.id is part of the key or generated",
        "another target",
    ),
    Refusal(
        "itself",
        "",
        WATCH.format("'title', target => 'title'"),
        "22023",
        "target and source are both 'title'",
        "its own",
    ),
    Refusal(
        "too long",
        "",
        WATCH.format(f"'title', target => '{'e' * 64}'"),
        "42602",
        "not a name of 1 to 63 bytes",
        "another",
    ),
    Refusal(
        "too long by default",
        f"alter table items rename title to {'t' * 60}",
        WATCH.format(f"'{'t' * 60}'"),
        "42602",
        "not a name of 1 to 63 bytes",
        "Say target",
    ),
    Refusal("nameless", "", WATCH.format("'title', target => ''"), "42602", "not a name", "another"),
    # The rest
    Refusal("zero dimensions", "", WATCH.format("'title', dimensions => 0"), "22023", "dimensions is 0", "1152"),
    Refusal("null dimensions", "", WATCH.format("'title', dimensions => null"), "22023", "dimensions is NULL", "1152"),
    Refusal("too many", "", WATCH.format("'title', dimensions => 16001"), "22023", "dimensions is 16001", "1152"),
    Refusal(
        "for halfvec",
        "",
        WATCH.format("'title', dimensions => 4001"),
        "22023",
        "HNSW index on halfvec takes at most 4000",
        "'none'",
    ),
    Refusal(
        "for vector",
        "",
        WATCH.format("'title', dimensions => 2001, index => 'vector'"),
        "22023",
        "on vector takes at most 2000 dimensions, not 2001",
        "'halfvec'",
    ),
    Refusal("index", "", WATCH.format("'title', index => 'btree'"), "22023", "index is 'btree'", "'hnsw'"),
    Refusal("storage", "", WATCH.format("'title', storage => 'bit'"), "22023", "storage is 'bit'", "'halfvec'"),
    Refusal("null index", "", WATCH.format("'title', index => null"), "22023", "index is NULL", "'hnsw'"),
]
