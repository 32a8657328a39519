"""`--fresh` on the demo's own Postgres: what the demo made is recreated, what others made is listed and kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from sidecar.demo.directory import DemoDirectory, open_directory
from sidecar.demo.example import create_example
from sidecar.demo.fresh import Foreign, FreshRefused, Restart, start_over
from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.errors import StatementRejected
from sidecar.operations.migrations import migrate
from tests.servers import open_directory as open_server_directory

_OF_OTHERS: tuple[LiteralString, ...] = (
    "create database shop",
    "create role fresh_tests_owner",
    "create table products (id int primary key, t text)",
    "create view cheap as select id from products",
    "create schema s create table x (i int)",
    "create sequence numbers",
    "create type mood as enum ('good')",
    "create function f(int) returns int language sql as 'select 1'",
    "create domain price as numeric",
    "create publication changes",
    "select lo_create(0)",
)
_NAMES = (
    *("database shop", "role fresh_tests_owner", "table public.products", "view public.cheap", "schema s", "table s.x"),
    *("sequence public.numbers", "type mood", "function f(integer)", "type price", "publication changes"),
    "1 large object",
)
_IN_THE_EXAMPLE: tuple[LiteralString, ...] = (
    "alter table emoji add mine int",
    "insert into emoji (name) values ('my own')",
    "select sidecar.watch('emoji', source => 'keywords', target => 'keywords_embedding')",
    "create function t() returns trigger language plpgsql as 'begin return new; end'",
    "create trigger mine before insert on emoji for each row execute function t()",
)
_PARTS = (
    *("column emoji.mine", "1 row in emoji with an id from 10001 on", "column emoji.keywords_embedding"),
    *("watch of emoji.keywords_embedding", "trigger mine on emoji"),
)


class Asked:
    """Answers, and keeps what was asked about."""

    def __init__(self, answer: bool | None) -> None:
        self._answer = answer
        self.names: list[str] = []

    def __call__(self, foreign: Foreign) -> bool | None:
        self.names = [name.partition(" (")[0] if name.endswith("KB)") else name for name in foreign.names]
        return self._answer


@pytest.fixture
def directory(postgres_version: str) -> Iterator[DemoDirectory]:
    """A demo's directory with schema and example; its Postgres is stopped."""
    with open_server_directory() as parent, open_directory(parent / "data") as directory:
        with EmbeddedPostgres(directory.postgres, postgres_version, settings={"fsync": "off"}) as postgres:
            migrate(postgres.url)
            assert create_example(postgres.url)
        yield directory


def run(directory: DemoDirectory, version: str, *statements: LiteralString) -> list[list[tuple[Any, ...]]]:
    """The rows of each statement."""
    with (
        EmbeddedPostgres(directory.postgres, version, settings={"fsync": "off"}) as postgres,
        psycopg.connect(postgres.url, autocommit=True) as connection,
    ):
        cursors = [connection.execute(statement) for statement in statements]
        return [cursor.fetchall() if cursor.description else [] for cursor in cursors]


def example_anew(directory: DemoDirectory, version: str) -> bool:
    with EmbeddedPostgres(directory.postgres, version, settings={"fsync": "off"}) as postgres:
        return create_example(postgres.url, recreate=True)


def password(directory: DemoDirectory) -> str:
    return (directory.postgres / "postgres.password").read_text()


def test_a_demo_without_foreign_work_starts_over_without_a_question(
    directory: DemoDirectory, postgres_version: str
) -> None:
    run(
        directory, postgres_version, "update emoji set name = 'x'", "comment on table emoji is null"
    )  # an earlier demo's
    before = password(directory)
    unasked = Asked(None)
    assert start_over(directory, postgres_version, unasked) is Restart.EVERYTHING
    assert unasked.names == []
    assert run(directory, postgres_version, "select to_regclass('emoji')") == [[(None,)]]
    assert password(directory) == before, "a URL that was noted is right no longer"


def test_what_others_made_is_named_and_stays(directory: DemoDirectory, postgres_version: str) -> None:
    run(directory, postgres_version, *_OF_OTHERS, "update emoji set name = 'x'", "comment on table emoji is null")
    with pytest.raises(FreshRefused, match=r"would delete[^H]*\n  database shop \([^H]*HINT: .*--no. .*--yes$"):
        start_over(directory, postgres_version, Asked(None))
    asked = Asked(False)
    assert start_over(directory, postgres_version, asked) is Restart.EXAMPLE
    assert sorted(asked.names) == sorted(_NAMES)
    assert example_anew(directory, postgres_version)
    example, watches, others = run(
        directory,
        postgres_version,
        "select count(*), count(*) filter (where name = 'x'), count(name_embedding) from emoji",
        "select target from sidecar.status order by target",
        "select to_regclass('products'), (select datname from pg_database where datname = 'shop')",
    )
    assert example == [(1844, 0, 0)]
    assert watches == [("name_embedding",), ("picture_embedding",)]
    assert others == [("products", "shop")]


def test_what_others_added_to_the_example_is_lost_only_if_they_say_so(
    directory: DemoDirectory, postgres_version: str
) -> None:
    run(directory, postgres_version, *_IN_THE_EXAMPLE)
    asked = Asked(False)
    with pytest.raises(FreshRefused, match="nothing was deleted: what you added to the demo's own table"):
        start_over(directory, postgres_version, asked)
    assert set(_PARTS) <= set(asked.names)
    assert run(directory, postgres_version, "select count(*) from emoji where name = 'my own'") == [[(1,)]]
    assert start_over(directory, postgres_version, Asked(True)) is Restart.EVERYTHING
    assert run(directory, postgres_version, "select to_regclass('emoji')") == [[(None,)]]


def test_a_view_over_the_example_stays_and_so_does_the_example(directory: DemoDirectory, postgres_version: str) -> None:
    run(directory, postgres_version, "create view faces as select * from emoji", "update emoji set name = 'x'")
    with pytest.raises(StatementRejected, match="view faces depends on"):
        example_anew(directory, postgres_version)
    count, watches = run(
        directory,
        postgres_version,
        "select count(*) from emoji where name = 'x'",
        "select count(*) from sidecar.status",
    )
    assert (count, watches) == ([(1844,)], [(2,)])


def test_a_table_that_has_only_the_name_of_the_example_is_foreign(
    directory: DemoDirectory, postgres_version: str
) -> None:
    run(directory, postgres_version, "drop table emoji", "create table emoji (id int generated always as identity)")
    asked = Asked(False)
    assert start_over(directory, postgres_version, asked) is Restart.EXAMPLE
    assert asked.names == ["table public.emoji"]
    assert not example_anew(directory, postgres_version)


def test_data_of_another_version_are_looked_into_by_that_version(
    directory: DemoDirectory, postgres_version: str
) -> None:
    other = "16" if postgres_version == "18" else "18"
    run(directory, postgres_version, "create table products (id int)")
    asked = Asked(False)
    with pytest.raises(FreshRefused, match=f"that is in PostgreSQL {postgres_version}, and the demo was to start with"):
        start_over(directory, other, asked)
    assert asked.names == ["table public.products"]
    assert start_over(directory, other, Asked(True)) is Restart.EVERYTHING
    assert run(directory, other, "select 1") == [[(1,)]]


def test_data_that_cannot_be_looked_into_are_deleted_only_if_somebody_says_so(
    directory: DemoDirectory, postgres_version: str
) -> None:
    (directory.postgres / "cluster" / "PG_VERSION").write_text("17\n")
    asked = Asked(None)
    with pytest.raises(FreshRefused, match="it cannot be looked into: There is no embedded PostgreSQL 17"):
        start_over(directory, postgres_version, asked)
    assert len(asked.names) == 1
    assert start_over(directory, postgres_version, Asked(True)) is Restart.EVERYTHING


def test_a_deletion_that_was_interrupted_leaves_nothing_that_looks_like_data(
    directory: DemoDirectory, postgres_version: str
) -> None:
    cluster = directory.postgres / "cluster"
    cluster.rename(cluster.with_name("cluster.deleted"))
    shutil.rmtree(cluster.with_name("cluster.deleted") / "base")
    assert start_over(directory, postgres_version, Asked(None)) is Restart.EVERYTHING
    assert run(directory, postgres_version, "select to_regclass('emoji')") == [[(None,)]]
    assert not cluster.with_name("cluster.deleted").exists()


def test_a_directory_without_data_has_nothing_to_ask_about(tmp_path: Path, postgres_version: str) -> None:
    with open_directory(tmp_path / "data") as directory:
        assert start_over(directory, postgres_version, Asked(None)) is Restart.EVERYTHING
