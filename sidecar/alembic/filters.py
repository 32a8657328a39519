"""Filters that keep autogenerate from dropping what the sidecar created. Declared objects are compared as usual."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import Column, Connection, Index, Table
from sqlalchemy.schema import SchemaItem

from sidecar.alembic.stored import SidecarObject, load_sidecar_objects

SCHEMAS = ("sidecar", "sidecar_internal")

IncludeObject: TypeAlias = Callable[[Any, Any, Any, bool, Any], bool]
IncludeName: TypeAlias = Callable[[Any, Any, MutableMapping[Any, Any]], bool]


def include_object(connection: Connection, also: IncludeObject | None = None) -> IncludeObject:
    """For `context.configure(include_object=…)`. `also` is a filter of your own, called for what ours includes.

    Leaves out, as long as the models do not have them: vector columns and companion tables of active watches, the
    indexes on them (unless the watch says `index => 'none'`), and schemas `sidecar` and `sidecar_internal`. Reads the
    watches once, when autogenerate first asks.
    """

    @cache
    def sidecar_objects() -> frozenset[SidecarObject]:
        return load_sidecar_objects(connection)

    def include(item: SchemaItem, name: str | None, type_: str, reflected: bool, compare_to: SchemaItem | None) -> bool:
        table = item if isinstance(item, Table) else item.table if isinstance(item, (Column, Index)) else None
        if reflected and compare_to is None and table is not None:
            schema = table.schema or connection.dialect.default_schema_name or "public"
            if schema in SCHEMAS or SidecarObject(type_, schema, table.name, str(name)) in sidecar_objects():
                return False
        return also is None or also(item, name, type_, reflected, compare_to)

    return include


def include_name(also: IncludeName | None = None) -> IncludeName:
    """For `context.configure(include_name=…)`, of use with `include_schemas=True`: our schemas are not read."""

    def include(name: str | None, type_: str, parent_names: MutableMapping[Any, Any]) -> bool:
        if type_ == "schema" and name in SCHEMAS:
            return False
        return also is None or also(name, type_, parent_names)

    return include
