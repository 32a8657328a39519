"""Which watch table and target mean: the same words mean the same one to every command, SQL function and endpoint.

The rule is in docs/sql.md, "Which watch is meant".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import psycopg
import pytest

from tests.command_line import CommandLine
from tests.integration.search.shop import connect, make_encoder, searching
from tests.integration.sql.session import Connection, refused, run
from tests.ports import find_free_port

Names: TypeAlias = set[tuple[str, str]]
"""Watches by schema-qualified table and target."""


@dataclass(frozen=True)
class Case:
    """What is named, and which watches it means: to what takes one watch, several make a refusal."""

    table: str
    target: str | None
    meant: Names
    over_rest: Names | None = None
    """Where a session's search_path decides, which REST has not: what the bare name may mean."""

    @property
    def by_rest(self) -> Names:
        return self.meant if self.over_rest is None else self.over_rest


TWO = {("public.products", "e"), ("public.products", "Vec")}
CASES = [
    Case("single", None, {("public.single", "e")}),
    Case("single", "e", {("public.single", "e")}),
    Case("SINGLE", "e", {("public.single", "e")}),
    Case("public.single", None, {("public.single", "e")}),
    Case('"public"."single"', None, {("public.single", "e")}),
    Case("products", "e", {("public.products", "e")}),
    Case("products", None, TWO),
    Case("products", "Vec", {("public.products", "Vec")}),
    Case("products", "vec", set()),
    Case("products", '"Vec"', set()),
    Case("products", "title", set()),
    Case('"Odd name"', None, {('public."Odd name"', "e")}),
    Case("Odd name", None, set()),
    Case('"Single"', None, set()),
    Case("shop.mugs", None, {("shop.mugs", "e")}),
    Case("SHOP.Mugs", "e", {("shop.mugs", "e")}),
    Case("mugs", None, set(), over_rest={("shop.mugs", "e")}),
    Case("twin", None, {("public.twin", "e")}, over_rest={("public.twin", "e"), ("shop.twin", "e")}),
    Case("shop.twin", None, {("shop.twin", "e")}),
    Case("products.e", None, set()),
    Case("public.products.e", None, set()),
    Case("unwatched", None, set()),
    Case("companion", None, set()),
    Case("nothing", None, set()),
    Case("", None, set()),
]

_WATCHED = {
    "single": ("e",),
    "products": ("e", "Vec"),
    '"Odd name"': ("e",),
    "shop.mugs": ("e",),
    "twin": ("e",),
    "shop.twin": ("e",),
    "unwatched": (),
}


@pytest.fixture
def db(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with connect(database_url) as connection:
        run(connection, "create schema shop")
        for table, targets in _WATCHED.items():
            run(connection, f"create table {table} (id int primary key, title text)")
            for target in targets:
                _watch(connection, table, target)
        run(connection, "create table kept (id int primary key, title text)")
        run(connection, "select sidecar.watch('kept', 'title', companion => 'companion', dimensions => 16)")
        run(connection, "update sidecar_internal.watches set fingerprint = %s", make_encoder().fingerprint)
        yield connection


def _watch(db: Connection, table: str, target: str) -> None:
    run(db, "select sidecar.watch(%s::text::regclass, 'title', target => %s, dimensions => 16)", table, target)


def _watches(db: Connection, condition: str) -> Names:
    """The watches, under the alias w, for which the condition holds."""
    query = """
        select format('%I.%I', n.nspname, c.relname), w.target from sidecar_internal.watches w
        join pg_class c on c.oid = w.relation join pg_namespace n on n.oid = c.relnamespace where """
    return {(table, target) for table, target in run(db, query + condition)}


_PAUSED = "w.paused"
_LIMITED = "w.rows_per_s = 7"
_ENDED = "w.unwatched_at is not null"
_EMBEDDED_AGAIN = "exists (select from sidecar_internal.scans s where s.watch_id = w.id and s.force)"
_VERIFIED = "exists (select from sidecar_internal.scans s where s.watch_id = w.id and s.purpose = 'verify')"
_VECTOR = f"'{[1.0] * 16}'"


@dataclass(frozen=True)
class Interface:
    """A call, whether it takes several watches at once, and the condition by which those that it took are known."""

    call: str
    effect: str | None = None
    takes_several: bool = False

    def expected(self, case: Case) -> Names:
        return case.meant if self.takes_several or len(case.meant) == 1 else set()


FUNCTIONS = [
    Interface("sidecar.pause({})", _PAUSED, takes_several=True),
    Interface("sidecar.set_rate({}, rows_per_s => 7)", _LIMITED, takes_several=True),
    Interface("sidecar.unwatch({})", _ENDED),
    Interface("sidecar.reembed({})", _EMBEDDED_AGAIN),
    Interface("sidecar.verify({})", _VERIFIED),
    Interface("sidecar.retry({})"),
    Interface(f"count(*) from sidecar.search({{}}, query_vector => {_VECTOR})"),
    Interface(f"count(*) from sidecar.hybrid_search({{}}, query_vector => {_VECTOR}, query_text => 'a')"),
    Interface("count(*) from sidecar.search_exposed({}, query_vector => array_fill(1::real, array[16]))"),
    Interface("count(*) from sidecar.truncated_texts({})"),
    Interface("count(*) from sidecar.unreadable_texts({})"),
]


_REFUSALS = (
    psycopg.errors.UndefinedObject,
    psycopg.errors.AmbiguousColumn,
    psycopg.errors.UndefinedTable,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.InvalidName,
    psycopg.errors.FeatureNotSupported,  # another database's table, products.public.e
)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.call.partition("(")[0].split(".")[-1])
def test_sql_functions(db: Connection, function: Interface) -> None:
    for case in CASES:
        words = [case.table] if case.target is None else [case.table, case.target]
        arguments = "relation => %s::text::regclass" + ", target => %s" * (len(words) - 1)
        expected, found = function.expected(case), set()
        with db.transaction(force_rollback=True):
            try:
                run(db, f"select {function.call.format(arguments)}", *words)
            except _REFUSALS:
                pass  # a refusal leaves `found` empty, as is expected of some cases
            else:
                found = _watches(db, function.effect) if function.effect else expected or {("no refusal", "")}
        assert found == expected, case


def test_the_function_of_the_exact_status_refuses_a_table_that_is_not_watched(db: Connection) -> None:
    assert {row[0] for row in run(db, "select target from sidecar.status_exact('products')")} == {"e", "Vec"}
    assert len(run(db, "select target from sidecar.status_exact(null)")) == 8
    with refused(db, "42704", "table public.unwatched is not watched", "sidecar.watch"):
        run(db, "select * from sidecar.status_exact('unwatched')")


COMMANDS = [
    Interface("pause", _PAUSED, takes_several=True),
    Interface("rate {} 7", _LIMITED, takes_several=True),
    Interface("status", takes_several=True),
    Interface("failures", takes_several=True),
    Interface("unwatch", _ENDED),
    Interface("reembed", _EMBEDDED_AGAIN),
    Interface("retry"),
    Interface("texts --truncated"),
    Interface("search {} query"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.call.partition(" ")[0])
def test_commands(db: Connection, command_line: CommandLine, command: Interface) -> None:
    # All commands look tables up in one way: one that takes a watch and one that takes several try every spelling.
    for case in CASES if command.call in {"pause", "reembed"} else CASES[::3]:
        expected, found = command.expected(case), set()
        name, *arguments = [case.table if word == "{}" else word for word in command.call.split()]
        if "{}" not in command.call:
            arguments = [case.table, *arguments]
        target = [] if case.target is None else ["--target", case.target]
        unused_url = ["--url", f"http://127.0.0.1:{find_free_port()}"] if name == "search" else []
        outcome = command_line(name, *arguments, *target, *unused_url, "--json")
        if outcome.code == 0 or "does not answer" in outcome.stderr:  # the search, which has found its watch
            found = _watches(db, command.effect) if command.effect else expected or {("no refusal", "")}
        assert found == expected, (case, outcome)
        if name == "status" and found:
            assert {watch["target"] for watch in json.loads(outcome.stdout)} == {target for _, target in expected}
        run(db, "update sidecar_internal.watches set paused = false, rows_per_s = null")
        run(db, "delete from sidecar_internal.scans")
        for ended, target_name in found if command.effect == _ENDED else ():
            _watch(db, ended, target_name)


async def test_search_over_rest(db: Connection, database_url: str) -> None:
    assert db.info.dbname
    async with searching(database_url, make_encoder()) as client:
        for case in CASES:
            target = {} if case.target is None else {"target": case.target}
            response = await client.post("/search", json={"table": case.table, "text": "a", **target})
            answer = response.json()
            expected = case.by_rest if len(case.by_rest) == 1 else set()
            if response.status_code == 200:
                assert {(answer["watch"]["table"], answer["watch"]["target"])} == expected, case
            else:
                assert not expected, (case, answer)
                code = "ambiguous_watch" if case.by_rest else "unknown_watch"
                assert answer["error"]["code"] == code or case.table == "", (case, answer)


@pytest.mark.parametrize(
    ("table", "target", "hint"),
    [
        ("prodcuts", None, "Did you mean products?"),
        ("mugs", None, "Did you mean shop.mugs?"),
        ("odd name", None, """Did you mean '"Odd name"'?"""),
        ("products", "VEC", "Did you mean 'Vec'? Its targets: 'Vec', 'e'"),
        (
            "products.Vec",
            None,
            "products.Vec is the name of a watch. Give table and target apart: products --target Vec",
        ),
        ("companion", None, "companion holds the vectors of public.kept: name that table."),
    ],
)
def test_a_command_names_what_may_be_meant(
    db: Connection, command_line: CommandLine, table: str, target: str | None, hint: str
) -> None:
    assert db.info.dbname
    error = command_line.fail("reembed", table, *([] if target is None else ["--target", target]))
    assert f"HINT: {hint}" in error.replace("public.companion", "companion")


async def test_rest_names_what_may_be_meant(db: Connection, database_url: str) -> None:
    assert db.info.dbname
    async with searching(database_url, make_encoder()) as client:

        async def message(**body: str) -> str:
            response = await client.post("/search", json={"text": "a", **body})
            assert response.status_code == 404
            return str(response.json()["error"]["message"])

        assert (await message(table="prodcuts")).endswith("Did you mean 'public.products'?")
        assert (await message(table="products", target="VEC")).endswith("Did you mean 'Vec'?")
        watch = await message(table="products.Vec")
        assert watch.endswith("It is the name of a watch: give `table` 'products', `target` 'Vec'.")
        assert "Did you mean" not in await message(table="unwatched"), "what is not watched appears not to exist"


@pytest.mark.parametrize(
    "call",
    [
        "sidecar.watch('unwatched', 'titel')",
        "sidecar.watch('unwatched', 'title', expose => array['titel'], dimensions => 16)",
        f"count(*) from sidecar.hybrid_search('single', {_VECTOR}, 'a', document => array['titel'])",
    ],
)
def test_an_unknown_column_names_a_similar_one(db: Connection, call: str) -> None:
    with refused(db, "42703", "has no column 'titel'", "^Did you mean 'title'\\? "):
        run(db, f"select {call}")
