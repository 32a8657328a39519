"""Runs autogenerate on models and a database, in a transaction that is rolled back."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations import Operations
from alembic.operations.ops import UpgradeOps
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Connection, Integer, LargeBinary, MetaData, String, Table, text

import sidecar.alembic

PHOTO = {"source": "photo", "dimensions": 16}

PRODUCTS = text("create table products (id int primary key, title varchar, brand varchar, photo bytea)")


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
    """The differences that autogenerate finds, our filter wrapping one that includes only the tables of `metadata`."""
    known = {(table.schema, table.name) for table in metadata.tables.values()}
    watched = {"article_vectors", "vectors"}

    def include_model_tables(item: Any, name: Any, type_: Any, _reflected: bool, _compare_to: Any) -> bool:
        return type_ != "table" or (item.schema, name) in known or name in watched

    options = {
        "include_object": sidecar.alembic.include_object(connection, include_model_tables),
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
    query = (
        "select relation::text, target, source, companion::text, dimensions, index_kind from sidecar_internal.watches"
    )
    return [tuple(row) for row in connection.execute(text(f"{query} where unwatched_at is null order by id"))]
