"""What autogenerate writes for models that declare their watches, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import pytest
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations import Operations
from alembic.operations.ops import UpgradeOps
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from pgvector.sqlalchemy import Vector
from sqlalchemy import Column, Connection, Integer, LargeBinary, MetaData, NullPool, String, Table, create_engine, text

import sidecar.alembic
from sidecar.alembic.watch import declared_watches
from sidecar.postgres.migrations import sqlalchemy_url

PHOTO = {"source": "photo", "dimensions": 16}

PRODUCTS = text("create table products (id int primary key, title varchar, brand varchar, photo bytea)")


@pytest.fixture
def connection(transaction: Connection) -> Connection:
    transaction.execute(text("create schema press"))
    transaction.execute(PRODUCTS)
    transaction.execute(text('create table press."Odd table" (id int primary key, "The text" varchar)'))
    return transaction


def products(*more: Column[Any], watches: Any = None) -> MetaData:
    metadata = MetaData()
    columns: list[Column[Any]] = [
        Column("id", Integer, primary_key=True),
        Column("title", String),
        Column("brand", String),
    ]
    info = {} if watches is None else {"sidecar": watches}
    Table("products", metadata, *columns, Column("photo", LargeBinary), *more, info=info)
    return metadata


def odd_table(watches: Any = None) -> MetaData:
    metadata = MetaData()
    columns: list[Column[Any]] = [Column("id", Integer, primary_key=True), Column("The text", String)]
    Table("Odd table", metadata, *columns, schema="press", info={} if watches is None else {"sidecar": watches})
    return metadata


def differences(connection: Connection, metadata: MetaData, **options: Any) -> UpgradeOps:
    """What autogenerate finds, with our filter over one that knows the tables of `metadata` only."""
    known = {(table.schema, table.name) for table in metadata.tables.values()}
    watched = {"article_vectors", "vectors"}

    def of_mine(item: Any, name: Any, type_: Any, _reflected: bool, _compare_to: Any) -> bool:
        return type_ != "table" or (item.schema, name) in known or name in watched

    options = {
        "include_object": sidecar.alembic.include_object(connection, of_mine),
        "include_schemas": True,
        **options,
    }
    found = produce_migrations(MigrationContext.configure(connection, opts=options), metadata).upgrade_ops
    assert found is not None
    return found


def written(operations: Any) -> list[str]:
    lines = render_python_code(operations).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def apply(connection: Connection, operations: Any) -> None:
    invoke = Operations(MigrationContext.configure(connection)).invoke
    for operation in operations.ops:
        for each in getattr(operation, "ops", [operation]):
            invoke(each)


def watched(connection: Connection) -> list[Any]:
    query = "select relation::text, target, source, companion::text, dimensions, index_kind from sidecar.watches"
    return [tuple(row) for row in connection.execute(text(f"{query} where unwatched_at is null order by id"))]


def test_a_declared_watch_that_is_missing_is_written_and_reversed(connection: Connection) -> None:
    metadata = products(watches=[PHOTO, {"source": ["title", "brand"], "target": "title_embedding"}])
    found = differences(connection, metadata)
    assert written(found) == [
        "op.sidecar_watch('products', 'photo', target='photo_embedding', dimensions=16)",
        "op.sidecar_watch('products', ['title', 'brand'], target='title_embedding')",
    ]
    assert written(found.reverse()) == [
        "op.sidecar_unwatch('products', 'title_embedding')",
        "op.sidecar_unwatch('products', 'photo_embedding')",
    ]
    apply(connection, found)
    assert differences(connection, metadata).is_empty()
    apply(connection, found.reverse())
    assert watched(connection) == []


def test_a_new_table_is_watched_after_it_is_made(connection: Connection) -> None:
    metadata = MetaData()
    columns: list[Column[Any]] = [
        Column("id", Integer, primary_key=True),
        Column("body", String),
        Column("body_embedding", Vector(16)),
    ]
    Table("notes", metadata, *columns, info={"sidecar": [{"source": "body", "dimensions": 16}]})
    found = differences(connection, metadata)
    assert [type(operation).__name__ for operation in found.ops] == ["CreateTableOp", "WatchOp"]
    assert [type(operation).__name__ for operation in found.reverse().ops] == ["UnwatchOp", "DropTableOp"]
    apply(connection, found)
    assert differences(connection, metadata).is_empty()


def test_a_declared_watch_that_changed_is_replaced_and_the_way_back_restores_it(connection: Connection) -> None:
    apply(connection, differences(connection, products(watches=[PHOTO])))
    before = watched(connection)
    found = differences(connection, products(watches=[{**PHOTO, "index": "none"}]))
    assert written(found) == [
        "op.sidecar_watch('products', 'photo', target='photo_embedding', dimensions=16, index='none', replace=True)"
    ]
    apply(connection, found)
    assert watched(connection)[0][-1] == "none"
    apply(connection, found.reverse())
    assert watched(connection) == before


def test_a_watch_that_is_not_declared_any_longer_ends_before_anything_else(connection: Connection) -> None:
    apply(connection, differences(connection, products(watches=[PHOTO])))
    found = differences(connection, products(Column("price", Integer), watches=[]))
    assert written(found) == [
        "op.sidecar_unwatch('products', 'photo_embedding')",
        "op.add_column('products', sa.Column('price', sa.Integer(), nullable=True))",
    ]
    assert written(found.reverse())[-1] == (
        "op.sidecar_watch('products', 'photo', target='photo_embedding', kind='image', dimensions=16)"
    )
    apply(connection, found)
    # What is not watched any longer is like any column: the next run offers to drop it.
    dropped = written(differences(connection, products(Column("price", Integer), watches=[])))
    assert dropped == ["op.drop_column('products', 'photo_embedding')"]


def test_a_table_that_declares_nothing_keeps_its_hand_written_watches(connection: Connection) -> None:
    apply(connection, differences(connection, products(watches=[PHOTO])))
    assert differences(connection, products()).is_empty()


@pytest.mark.parametrize("companion", ["article_vectors", "press.article_vectors", "vectors.vectors", '"Vectors!"'])
def test_names_that_need_quotes_and_companions_compare_equal(connection: Connection, companion: str) -> None:
    connection.execute(text("create schema vectors"))
    metadata = odd_table([{"source": "The text", "companion": companion, "target": "e", "dimensions": 16}])
    found = differences(connection, metadata)
    assert written(found) == [
        f"op.sidecar_watch('Odd table', 'The text', target='e', companion={companion!r}, dimensions=16, schema='press')"
    ]
    apply(connection, found)
    assert watched(connection)[0][:3] == ('press."Odd table"', "e", ["The text"])
    assert differences(connection, metadata).is_empty()
    apply(connection, differences(connection, odd_table([])).reverse())
    assert differences(connection, metadata).is_empty()


@pytest.mark.parametrize(
    "change",
    [
        {"companion": "press.other"},
        {"companion": "public.article_vectors"},
        {"companion": None},
        {"dimensions": 17},
        {"model": "other"},
        {"index": "vector"},
        {"kind": "image"},
    ],
)
def test_a_change_of_any_option_is_seen(connection: Connection, change: dict[str, Any]) -> None:
    watch = {"source": "The text", "companion": "article_vectors", "target": "e", "dimensions": 16}
    apply(connection, differences(connection, odd_table([watch])))
    (replacing,) = written(differences(connection, odd_table([watch | change])))
    assert replacing.startswith("op.sidecar_watch(")
    assert "replace=True" in replacing


def test_a_companion_is_dropped_without_the_filter_only(connection: Connection) -> None:
    metadata = odd_table()
    watch = {"source": "The text", "companion": "article_vectors", "target": "e", "dimensions": 16}
    apply(connection, differences(connection, odd_table([watch])))
    assert differences(connection, metadata).is_empty()
    known = {"Odd table", "article_vectors"}

    def of_mine(_item: Any, name: Any, type_: Any, _reflected: bool, _compare_to: Any) -> bool:
        return type_ != "table" or name in known

    assert written(differences(connection, metadata, include_object=of_mine)) == [
        "op.drop_table('article_vectors', schema='press')"
    ]


@pytest.mark.parametrize(("declared", "changes"), [(Vector(16), 0), (Vector(), 0), (Vector(17), 1)])
def test_a_vector_column_of_the_model_is_compared_by_its_dimensions(
    connection: Connection, declared: Vector, changes: int
) -> None:
    apply(connection, differences(connection, products(watches=[PHOTO])))
    found = differences(connection, products(Column("photo_embedding", declared)))
    assert len(found.ops) == changes


def test_an_own_filter_is_asked_for_all_that_is_not_ours(connection: Connection) -> None:
    asked: list[Any] = []

    def name_filter(name: Any, type_: Any, parents: MutableMapping[Any, Any]) -> bool:
        asked.append((type_, name))
        return bool(name != "press")

    include: Callable[..., bool] = sidecar.alembic.include_name(name_filter)
    apply(connection, differences(connection, products(watches=[PHOTO])))
    differences(connection, products(), include_name=include)
    assert ("schema", "press") in asked
    assert ("schema", "sidecar") not in asked
    assert ("table", "Odd table") not in asked


def test_partitions_keep_their_vectors_and_indexes(connection: Connection) -> None:
    connection.execute(text("create table logs (id int primary key, body varchar) partition by range (id)"))
    connection.execute(text("create table logs_1 partition of logs for values from (0) to (10)"))
    call = "select sidecar.watch('logs', source => 'body', dimensions => 16)"
    connection.execute(text(call))
    connection.execute(text("create index on logs_1 using hnsw (body_embedding vector_cosine_ops)"))
    metadata = MetaData()
    for name in ("logs", "logs_1"):
        Table(name, metadata, Column("id", Integer, primary_key=True), Column("body", String))
    assert differences(connection, metadata).is_empty()
    connection.execute(text("select sidecar.watch('logs', 'body', dimensions => 16, index => 'none', replace => true)"))
    assert written(differences(connection, metadata))[0].startswith("op.drop_index(op.f('logs_1_body_embedding_idx')")


@pytest.mark.parametrize(
    ("watches", "said"),
    [
        ({"source": "photo"}, "it must be a list of watches such as {'source': 'photo', 'target': 'photo_embedding'}"),
        ([{"target": "photo_embedding"}], "it must be a list of watches"),
        ([{"source": "photo", "dimension": 16}], r"unknown options \['dimension'\]; known are .*'dimensions'"),
        ([{"source": []}], "the watch on 'products' has no source"),
    ],
)
def test_a_wrong_declaration_is_named(watches: Any, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        declared_watches(products(watches=watches).tables["products"])


def test_without_our_schema_declared_watches_are_still_written(plain_database_url: str) -> None:
    engine = create_engine(sqlalchemy_url(plain_database_url), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(
            text("create table products (id int primary key, title varchar, brand varchar, photo bytea)")
        )
        assert written(differences(connection, products(watches=[PHOTO]))) == [
            "op.sidecar_watch('products', 'photo', target='photo_embedding', dimensions=16)"
        ]
