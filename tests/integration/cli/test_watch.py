"""`sidecar watch` and `sidecar unwatch`"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.command_line import CommandLine
from tests.integration.cli.conftest import Db, parse


def watches(db: Db) -> list[tuple[Any, ...]]:
    query = """select relation::text, kind, source, target, companion::text, dimensions, index_kind, model
               from sidecar_internal.watches where unwatched_at is null order by id"""
    return db.execute(query).fetchall()


def test_watch_passes_every_option_to_the_database(db: Db, command_line: CommandLine) -> None:
    command_line.succeed("watch", "products", "--source", "photo")
    command_line.succeed(
        *("watch", "public.products", "--source", "title", "--source", "brand", "--target", "e", "--kind", "text"),
        *("--companion", "product_vectors", "--index", "none", "--model", "some-model", "--dimensions", "16"),
    )
    assert watches(db) == [
        ("products", "image", ["photo"], "photo_embedding", None, 1152, "halfvec", None),
        ("products", "text", ["title", "brand"], "e", "product_vectors", 16, "none", "some-model"),
    ]


def test_watch_stores_halves_where_it_is_told_to_and_status_says_so(db: Db, command_line: CommandLine) -> None:
    text = command_line.succeed("watch", "products", "--source", "title", "--target", "e", "--storage", "halfvec")
    assert "order by e <=> $1::halfvec(1152) limit 10" in text
    assert re.search(r"vectors +as halfvec", command_line.succeed("status", "products"))
    assert parse(command_line.succeed("status", "products", "--json"))[0]["storage"] == "halfvec"
    with_vector = ("watch", "products", "--source", "title", "--target", "e", "--storage", "vector", "--replace")
    assert "HINT: Leave storage out to keep halfvec. To change it, name a new table" in command_line.fail(*with_vector)


def test_watch_exposes_columns(db: Db, command_line: CommandLine) -> None:
    exposed = "select expose from sidecar_internal.watches"
    command_line.succeed("watch", "products", "--source", "title", "--expose", "brand", "--expose", "title")
    assert db.execute(exposed).fetchall() == [(["brand", "title"],)]
    assert "expose {brand,title}" in command_line.fail("watch", "products", "--source", "title")
    command_line.succeed("watch", "products", "--source", "title", "--replace")
    assert db.execute(exposed).fetchall() == [([],)]


def test_watch_prints_sources_pending_rows_and_the_query_to_search(db: Db, command_line: CommandLine) -> None:
    text = command_line.succeed("watch", "products", "--source", "title", "--target", "e")
    assert "products: title → e (text)" in text
    assert "3 of 3 rows" in text
    assert "sidecar serve" in text
    assert "select * from public.products order by e::halfvec(1152) <=> $1::halfvec(1152) limit 10" in text
    again = parse(command_line.succeed("watch", "products", "--source", "title", "--target", "e", "--json"))
    assert (again["target"], again["pending"], again["state"]) == ("e", 3, "no sidecar is running")
    assert len(watches(db)) == 1


def test_changing_a_watch_needs_replace(db: Db, command_line: CommandLine) -> None:
    command_line.succeed("watch", "products", "--source", "title", "--target", "e")
    assert "already watched" in command_line.fail("watch", "products", "--source", "brand", "--target", "e")
    command_line.succeed("watch", "products", "--source", "brand", "--target", "e", "--replace")
    assert watches(db)[0][2] == ["brand"]


def test_hostile_names_of_tables_and_columns_are_quoted(db: Db, command_line: CommandLine) -> None:
    db.execute(
        """create schema "x; drop"; create table "x; drop"."a ""b" ("k 'ey" text primary key, "so""urce" text)"""
    )
    table = '"x; drop"."a ""b"'
    command_line.succeed("watch", table, "--source", 'so"urce', "--target", "ta'rget; order by 1 limit 10")
    assert watches(db)[0][2:4] == (['so"urce'], "ta'rget; order by 1 limit 10")
    assert "no longer watched" in command_line.succeed("unwatch", table)
    assert watches(db) == []


def test_a_warning_of_the_server_reaches_the_user(db: Db, command_line: CommandLine) -> None:
    db.execute("insert into products select n, 'x' from generate_series(10, 6000) n")
    for brand in ("a", "b", "c"):
        db.execute("update products set brand = %s", [brand])
    db.execute("select pg_stat_force_next_flush()")
    outcome = command_line("watch", "products", "--source", "title")
    assert outcome.code == 0
    assert "WARNING: table public.products has seen" in outcome.stderr
    assert "HINT: Keep the vector in a table of its own" in outcome.stderr


def test_unwatch_keeps_the_vectors_unless_asked_to_drop_them(db: Db, command_line: CommandLine) -> None:
    def has_column(name: str) -> bool:
        query = "select from pg_attribute where attrelid = 'products'::regclass and attname = %s and not attisdropped"
        return db.execute(query, [name]).fetchone() is not None

    for target in ("e", "f"):
        command_line.succeed("watch", "products", "--source", "title", "--target", target)
    assert "are kept" in command_line.succeed("unwatch", "products", "--target", "e")
    assert "are deleted" in command_line.succeed("unwatch", "products", "--target", "f", "--drop-target")
    assert (has_column("e"), has_column("f")) == (True, False)
    assert watches(db) == []


@pytest.mark.parametrize("companion", ["vectors", '"Odd ""Vectors"'])
def test_unwatch_of_a_companion_says_that_it_is_done(db: Db, command_line: CommandLine, companion: str) -> None:
    arguments = ("products", "--source", "title", "--target", "e", "--companion", companion)
    command_line.succeed("watch", *arguments)
    text = command_line.succeed("unwatch", "products")
    assert "are kept" in text
    assert f"drop table public.{companion};" in text
    command_line.succeed("watch", *arguments)
    ended = parse(command_line.succeed("unwatch", "products", "--drop-target", "--json"))
    assert (ended["vectors"], ended["remains"]) == ("deleted", [])


def test_unwatch_lists_what_stays_and_drop_target_works_afterwards(watched: Db, command_line: CommandLine) -> None:
    watched.execute("select sidecar.watch('products', source => 'title', target => 'f')")
    text = command_line.succeed("unwatch", "products", "--target", "e")
    assert "  column public.products.e with its vectors\n    alter table public.products drop column e;\n" in text
    command = text.splitlines()[-1].partition(": ")[2]
    assert command == "sidecar unwatch products --target e --drop-target"
    ended = parse(command_line.succeed("unwatch", "products", "--target", "f", "--json"))
    assert [each["statement"] for each in ended["remains"]] == ["alter table public.products drop column f;"]
    assert "its vectors are still there" in command_line.fail("unwatch", "products", "--target", "e").lower()
    assert "are deleted" in command_line.succeed(*command.split()[1:])
    ended = parse(command_line.succeed("unwatch", "products", "--drop-target", "--json"))
    assert (ended["target"], ended["vectors"], ended["remains"]) == ("f", "deleted", [])


def test_a_move_says_what_removes_the_former_home(watched: Db, command_line: CommandLine) -> None:
    watched.execute("update sidecar_internal.watches set fingerprint = 'f', encoder = 'm'")
    outcome = command_line(
        *("watch", "products", "--source", "title", "--target", "e", "--companion", "vectors", "--replace")
    )
    assert outcome.code == 0
    assert "alter table public.products drop column e;" in outcome.stderr
