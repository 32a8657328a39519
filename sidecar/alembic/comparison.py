"""Compares the watches that models declare with those of the database, when autogenerate runs.

A table whose `info` has no key "sidecar" is not compared: its watches are managed by hand-written migrations.
"""

from __future__ import annotations

from dataclasses import replace

from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import MigrateOperation, UpgradeOps
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import Connection, Table, text

from sidecar.alembic.operations import UnwatchOp, WatchOp
from sidecar.alembic.stored import StoredWatch, has_index_methods, load_watches
from sidecar.alembic.watch import Watch, declared_watches


@comparators.dispatch_for("schema", priority=DispatchPriority.LAST)
def compare_watches(
    context: AutogenContext, upgrade_ops: UpgradeOps, _schemas: set[str | None]
) -> PriorityDispatchResult:
    """Puts the end of watches before all other operations, and their start after them."""
    managed = [
        (table, watches)
        for table in context.sorted_tables
        if (watches := declared_watches(table)) is not None
        and context.run_object_filters(table, table.name, "table", False, None)
    ]
    if managed and context.connection is not None:
        stored = load_watches(context.connection)
        for table, watches in managed:
            ends, starts = _compare_table(context.connection, table, watches, stored)
            upgrade_ops.ops[:0] = ends
            upgrade_ops.ops.extend(starts)
    return PriorityDispatchResult.CONTINUE


def _compare_table(
    connection: Connection, table: Table, declared: list[Watch], stored: list[StoredWatch]
) -> tuple[list[MigrateOperation], list[MigrateOperation]]:
    schema = table.schema or connection.dialect.default_schema_name or "public"
    there = {s.watch.target: s for s in stored if (s.watch.schema, s.watch.relation) == (schema, table.name)}
    ends: list[MigrateOperation] = [
        UnwatchOp(table.name, target, schema=table.schema, existing=replace(s.watch, schema=table.schema))
        for target, s in there.items()
        if target not in {watch.target for watch in declared}
    ]
    starts: list[MigrateOperation] = []
    for watch in declared:
        now = there.get(watch.target)
        if now is None:
            starts.append(WatchOp(watch))
        elif not _is_same(connection, watch, schema, now):
            starts.append(WatchOp(watch, replace=True, former=replace(now.watch, schema=table.schema)))
    return ends, starts


def _is_same(connection: Connection, declared: Watch, schema: str, stored: StoredWatch) -> bool:
    now = stored.watch
    storage = now.storage if declared.storage in {None, now.storage or "vector"} else declared.storage
    kind = declared.kind or now.kind
    index = _index_of(connection, declared, storage or "vector")
    wanted = replace(declared, schema=schema, kind=kind, companion=now.companion, storage=storage, index=index)
    return wanted == now and _companion_of(connection, declared, schema) == stored.companion


def _index_of(connection: Connection, declared: Watch, storage: str) -> str:
    """The declared index as the database would write it: 'hnsw' is 'halfvec'. Raises what sidecar.watch would."""
    if declared.index in {"halfvec", "vector", "none"} or not has_index_methods(connection):
        return declared.index
    asked = {"index": declared.index, "target": declared.target, "dimensions": declared.dimensions, "storage": storage}
    canonical = text("select sidecar_internal.canonical_index(:index, :target, :dimensions, :storage)")
    return str(connection.scalar(canonical, asked))


def _companion_of(connection: Connection, declared: Watch, schema: str) -> tuple[str, str] | None:
    """The (schema, name) that sidecar.watch would use for a companion."""
    if declared.companion is None:
        return None
    parts = connection.scalar(text("select parse_ident(:companion)"), {"companion": declared.companion})
    return (schema, parts[0]) if len(parts) == 1 else (parts[0], parts[1])
