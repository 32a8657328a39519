"""op.sidecar_watch and op.sidecar_unwatch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine

from sidecar.alembic import SidecarMissing, UnwatchOp, Watch, WatchOp
from sidecar.errors import SchemaError
from sidecar.operations.migrations import migrate
from tests.sqlalchemy_url import sqlalchemy_url

PRODUCTS = "create table products (id int primary key, title varchar, photo bytea)"


@pytest.fixture
def connection(transaction: Connection) -> Connection:
    transaction.execute(text(PRODUCTS))
    return transaction


def op(connection: Connection) -> Any:
    """Alembic's `op`, as in a migration."""
    return Operations(MigrationContext.configure(connection))


def watches(connection: Connection) -> list[Any]:
    query = (
        "select target, source, dimensions, index_kind, model, unwatched_at is null from "
        "sidecar_internal.watches order by id"
    )
    return [tuple(row) for row in connection.execute(text(query))]


def test_every_option_is_passed_to_sidecar_watch(connection: Connection) -> None:
    options = {"target": "it's 100%", "kind": "text", "dimensions": 16, "model": "a:b", "index": "vector"}
    op(connection).sidecar_watch("products", ["title"], schema="public", **options)
    assert watches(connection) == [("it's 100%", ["title"], 16, "vector", "a:b", True)]
    op(connection).sidecar_watch("products", "title", target="it's 100%", dimensions=16, index="none", replace=True)
    assert watches(connection) == [("it's 100%", ["title"], 16, "none", None, True)]


def test_unwatch_keeps_the_vectors_unless_drop_target_is_set(connection: Connection) -> None:
    op(connection).sidecar_watch("products", "title", dimensions=16)
    op(connection).sidecar_unwatch("products")
    assert watches(connection)[0][-1] is False
    connection.execute(text("select title_embedding from products"))
    op(connection).sidecar_unwatch("products", "title_embedding", drop_target=True)
    assert watches(connection) == []
    with pytest.raises(ProgrammingError, match="title_embedding"):
        connection.execute(text("select title_embedding from products"))


def test_a_watch_is_rolled_back_with_its_transaction(connection: Connection) -> None:
    op(connection).sidecar_watch("products", "title", dimensions=16)
    assert len(watches(connection)) == 1
    connection.rollback()
    assert watches(connection) == []


def test_a_rejection_by_sidecar_watch_keeps_its_hint(connection: Connection) -> None:
    with pytest.raises(ProgrammingError, match=r"(?s)has no column 'titel'.*Column names are case-sensitive"):
        op(connection).sidecar_watch("products", "titel")


def test_expose_accepts_one_column_or_several(connection: Connection) -> None:
    exposed = text("select expose from sidecar_internal.watches where target = :target")
    op(connection).sidecar_watch("products", "title", target="a", dimensions=16, expose="title")
    op(connection).sidecar_watch("products", "title", target="b", dimensions=16, expose=["id", "title"])
    assert connection.scalar(exposed, {"target": "a"}) == ["title"]
    assert connection.scalar(exposed, {"target": "b"}) == ["id", "title"]


def test_an_unknown_option_is_named_in_the_error(connection: Connection) -> None:
    with pytest.raises(CommandError, match=r"unknown options \['dimension'\]"):
        op(connection).sidecar_watch("products", "title", dimension=16)


def test_a_missing_sidecar_schema_is_an_error_with_the_command_to_run_and_its_cause(plain_database_url: str) -> None:
    engine = create_engine(sqlalchemy_url(plain_database_url), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(PRODUCTS))
        with pytest.raises(SidecarMissing, match=r"cannot call sidecar\.unwatch .*Run `sidecar migrate`") as caught:
            op(connection).sidecar_unwatch("products")
    assert isinstance(caught.value, SchemaError)
    assert isinstance(caught.value, CommandError)
    assert isinstance(caught.value.__cause__, ProgrammingError)


def test_an_error_inside_the_sidecar_schema_is_not_reported_as_a_missing_schema(connection: Connection) -> None:
    connection.execute(text("drop function sidecar_internal.warn_of_old_pgvector"))
    with pytest.raises(ProgrammingError, match="warn_of_old_pgvector"):
        op(connection).sidecar_watch("products", "title", dimensions=16)


async def test_operations_run_over_asyncpg(database_url: str, plain_database_url: str) -> None:
    def watch(connection: Connection) -> list[Any]:
        connection.execute(text(PRODUCTS))
        op(connection).sidecar_watch("products", ["title"], dimensions=16, replace=False)
        return watches(connection)

    engine = create_async_engine(sqlalchemy_url(database_url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    async with engine.connect() as connection:
        assert await connection.run_sync(watch) == [("title_embedding", ["title"], 16, "halfvec", None, True)]
    bare = create_async_engine(
        sqlalchemy_url(plain_database_url).set(drivername="postgresql+asyncpg"), poolclass=NullPool
    )
    async with bare.connect() as connection:
        with pytest.raises(SidecarMissing):
            await connection.run_sync(watch)


def test_a_schema_too_old_for_an_option_is_reported_with_its_version(plain_database_url: str) -> None:
    migrate(plain_database_url)
    engine = create_engine(sqlalchemy_url(plain_database_url), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(PRODUCTS))
        for source in ("text", "text[]"):
            arguments = f"regclass, {source}, text, text, text, integer, text, text, boolean, text[], text"
            connection.execute(text(f"drop function sidecar.watch({arguments})"))
        with pytest.raises(SidecarMissing, match="an older version of it"):
            op(connection).sidecar_watch("products", "title")


def test_watch_and_unwatch_operations_reverse_into_each_other() -> None:
    watch = Watch("products", ("photo",), "photo_embedding", index="none", schema="shop")
    there = WatchOp(watch)
    back = there.reverse()
    assert isinstance(back, UnwatchOp)
    assert (back.relation, back.target, back.schema, back.drop_target) == ("products", "photo_embedding", "shop", False)
    again = back.reverse()
    assert again.watch == watch
    assert there.to_diff_tuple() == ("sidecar_watch", watch)
    assert back.to_diff_tuple() == ("sidecar_unwatch", "shop", "products", "photo_embedding")


def test_an_operation_without_the_previous_options_cannot_be_reversed() -> None:
    watch = Watch("products", ("photo",), "photo_embedding")
    with pytest.raises(ValueError, match="give it as `existing`"):
        UnwatchOp("products").reverse()
    with pytest.raises(ValueError, match="give what was before"):
        WatchOp(watch, replace=True).reverse()


def test_importing_the_operations_needs_only_alembic_and_sqlalchemy() -> None:
    program = """
import sys
heavy = ["torch", "asyncpg", "psycopg", "pydantic", "pydantic_settings", "numpy", "pgvector", "typer", "starlette"]
sys.modules.update(dict.fromkeys(heavy))  # importing one of them is an ImportError
import sidecar.alembic
assert not {"sidecar.config", "sidecar.settings"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
