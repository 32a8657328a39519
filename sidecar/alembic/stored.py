"""Reads watches, and what the sidecar created for them, from the database."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from sidecar.alembic.watch import Watch

# Tables were in schema `sidecar` before revision 0019, had no `storage` before 0022 and no index methods before 0029.
_SCHEMA_OF_WATCHES = text("""
    select case when to_regclass('sidecar_internal.watches') is not null then 'sidecar_internal'
                when to_regclass('sidecar.watches') is not null then 'sidecar' end
""")

_WATCHES = """
    select rn.nspname, r.relname, w.source, w.target, w.kind, cn.nspname, c.relname, w.dimensions, w.model,
           {index}, w.expose, nullif(to_jsonb(w)->>'storage', 'vector')
    from {schema}.watches w
    join pg_class r on r.oid = w.relation join pg_namespace rn on rn.oid = r.relnamespace
    left join pg_class c on c.oid = w.companion left join pg_namespace cn on cn.oid = c.relnamespace
    where w.unwatched_at is null order by w.id
"""

# Vectors are in the watched table or the companion, and their partitions. An index on them is the sidecar's if it is an
# HNSW index or of the method of the watch, unless the watch has index => 'none'.
_SIDECAR_OBJECTS = """
    with home as (
        select h.oid, w.target, w.companion is not null as is_companion, w.index_kind,
               coalesce(to_jsonb(w)->>'index_method', 'hnsw') as method
        from {schema}.watches w
        cross join lateral (
            select coalesce(w.companion, w.relation)::oid as oid
            union select p.relid from pg_partition_tree(coalesce(w.companion, w.relation)) p
        ) h
        where w.unwatched_at is null
    )
    select case when h.is_companion then 'table' else 'column' end, n.nspname, c.relname,
           case when h.is_companion then c.relname else h.target end
    from home h join pg_class c on c.oid = h.oid join pg_namespace n on n.oid = c.relnamespace
    union all
    select 'index', n.nspname, c.relname, ic.relname
    from home h join pg_class c on c.oid = h.oid join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = h.oid and a.attname = h.target
    join pg_depend d on d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
                        and d.refobjid = h.oid and d.refobjsubid = a.attnum
    join pg_class ic on ic.oid = d.objid and ic.relkind in ('i', 'I')
    join pg_am am on am.oid = ic.relam and am.amname in ('hnsw', h.method)
    where h.index_kind <> 'none'
"""


@dataclass(frozen=True, slots=True)
class SidecarObject:
    """An object that the sidecar created or may create. `type` is 'table', 'column' or 'index'; `table` contains it."""

    type: str
    schema: str
    table: str
    name: str


@dataclass(frozen=True, slots=True)
class StoredWatch:
    """An active watch. `watch.schema` is always set; `companion` is (schema, name) or None."""

    watch: Watch
    companion: tuple[str, str] | None


def load_sidecar_objects(connection: Connection) -> frozenset[SidecarObject]:
    """The objects of all active watches. Empty if schema `sidecar` is missing."""
    schema = connection.scalar(_SCHEMA_OF_WATCHES)
    if schema is None:
        return frozenset()
    return frozenset(SidecarObject(*row) for row in connection.execute(text(_SIDECAR_OBJECTS.format(schema=schema))))


def has_index_methods(connection: Connection) -> bool:
    """Whether the schema of the sidecar knows other methods than HNSW."""
    return bool(connection.scalar(text("select to_regproc('sidecar_internal.index_argument') is not null")))


def load_watches(connection: Connection) -> list[StoredWatch]:
    """All active watches. Empty if schema `sidecar` is missing."""
    schema_of_watches = connection.scalar(_SCHEMA_OF_WATCHES)
    if schema_of_watches is None:
        return []
    quote = connection.dialect.identifier_preparer.quote
    stored = []
    index = "sidecar_internal.index_argument(w)" if has_index_methods(connection) else "w.index_kind"
    for row in connection.execute(text(_WATCHES.format(schema=schema_of_watches, index=index))):
        (
            schema,
            relation,
            source,
            target,
            kind,
            companion_schema,
            companion,
            dimensions,
            model,
            index,
            expose,
            storage,
        ) = row
        name = None
        if companion is not None:
            name = quote(companion) if companion_schema == schema else f"{quote(companion_schema)}.{quote(companion)}"
        watch = Watch(
            relation, tuple(source), target, kind, name, dimensions, model, index, schema, tuple(expose), storage
        )
        stored.append(StoredWatch(watch, None if companion is None else (companion_schema, companion)))
    return stored
