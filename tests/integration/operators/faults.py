"""Faults to plant in the database of healthy.py, and the checks of `sidecar doctor` that must find them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """`plant` is SQL; a line that is `--` divides what psql would send one after another.

    `expected`: the checks that find something, one entry for each finding. `meanwhile`: what a sidecar or a machine
    then does with the remedy. `in_psql`: the remedy is SQL.
    """

    plant: str
    expected: tuple[str, ...]
    meanwhile: str = ""
    in_psql: bool = True


_WORKER = """
    create role {worker} login; select sidecar.grant_worker('{worker}');
    update sidecar_internal.sidecars set role = '{worker}';
"""
_MEASURED = """
    insert into sidecar_internal.recalls
        (watch_id, ef_search, k, recall, lowest, queries, index_ms, exact_ms, fingerprint, index_id, index_file)
        select 1, m.ef, 10, m.recall, 0, 50, 1, 2, 'f', i, pg_relation_filenode(i)
        from (values {}) m(ef, recall), cast('items_e_hnsw_1' as regclass) i
"""

FAULTS = {
    "pgvector with known faults": Fault(
        "update pg_extension set extversion = '0.8.1' where extname = 'vector'",
        ("pgvector",),
    ),
    "a watched table was dropped": Fault(
        """
        create table gone (id int primary key, title text);
        select sidecar.watch('gone', 'title', dimensions => 3);
        drop table gone
        """,
        ("watches",),
    ),
    "a source was dropped": Fault(
        """
        create table gone (id int primary key, title text);
        select sidecar.watch('gone', 'title', dimensions => 3);
        alter table gone drop column title cascade
        """,
        ("watches",),
    ),
    "a companion was dropped": Fault("drop table vectors cascade", ("watches",)),
    "a target was renamed": Fault("alter table items rename e to other", ("watches",)),
    "a trigger could not do its work": Fault(
        "insert into sidecar_internal.breakages values (1, '42703', 'no column')",
        ("watches",),
    ),
    "a sidecar gave a watch up": Fault(
        "update sidecar_internal.watches set broken = 'no column' where id = 2",
        ("watches",),
    ),
    "another table inherits": Fault("create table child () inherits (items)", ("watches", "watches")),
    "a trigger is missing": Fault("drop trigger sidecar_1_insert on items", ("triggers",)),
    "a trigger is disabled": Fault("alter table items disable trigger sidecar_2_delete", ("triggers",)),
    "a trigger of another shape is needed": Fault(
        """
        create function touch() returns trigger language plpgsql as $$ begin new.title := 'x'; return new; end $$;
        create trigger touch before update on items for each row execute function touch()
        """,
        ("triggers", "triggers"),
    ),
    "a role without any rights": Fault(
        "create role {worker} login; update sidecar_internal.sidecars set role = '{worker}'",
        ("grants",) * 5,
    ),
    "a column that the sidecar may not read": Fault(
        _WORKER + "revoke select (title) on items from {worker}",
        ("grants",),
    ),
    "a companion that the sidecar may not write": Fault(
        _WORKER + "revoke insert, delete on vectors from {worker}",
        ("grants",),
    ),
    "a queue that the sidecar may not read": Fault(
        _WORKER + "revoke select on sidecar_internal.events_1 from {worker}",
        ("grants",),
    ),
    "row-level security hides rows": Fault(_WORKER + "alter table items enable row level security", ("grants",)),
    "an index finds too little, as measured": Fault(
        _MEASURED.format("(40, 0.9), (100, 0.94), (200, 0.97), (400, 1)"),
        ("index_recall",),
    ),
    "an index finds too little with what was measured": Fault(
        _MEASURED.format("(40, 0.9), (100, 0.94)"),
        ("index_recall",),
    ),
    "an index finds too little with any search": Fault(
        _MEASURED.format("(40, 0.5), (1000, 0.9)"),
        ("index_recall",),
    ),
    "the index is missing": Fault("drop index items_e_hnsw_1", ("index",)),
    "the index is invalid": Fault(
        "update pg_index set indisvalid = false where indexrelid = 'items_e_hnsw_1'::regclass",
        ("index",),
    ),
    "an index of another kind was left": Fault(
        "create index items_e_hnsw_before_hnsw_1 on items using hnsw (e vector_cosine_ops)",
        ("former_index",),
    ),
    "building the index failed": Fault(
        """
        drop index items_e_hnsw_1;
        insert into sidecar_internal.index_failures (watch_id, message, next_try_at)
            values (1, 'no space left', now() + interval '1 h')
        """,
        ("index",),
    ),
    "maintenance_work_mem is too small": Fault(
        """
        drop index items_e_hnsw_1;
        insert into items select i, 'x' from generate_series(11, 3000) i;
        update sidecar_internal.scans set finished_at = null;
        alter database {database} set maintenance_work_mem = '1MB'
        """,
        ("maintenance_work_mem",),
    ),
    "updates are not HOT": Fault(
        """
        create index on items (title);
        set session_replication_role = replica;
        --
        do $$ begin for i in 1 .. 1100 loop update items set title = 'changed ' || i; end loop; end $$;
        --
        reset session_replication_role;
        select pg_stat_force_next_flush()
        """,
        ("hot_updates",),
    ),
    "exposed columns that are gone, or that the role may not read": Fault(
        _WORKER
        + """
        alter table items add price numeric, add brand text;
        select sidecar.watch('items', 'title', 'e', dimensions => 3, expose => '{price,brand}', replace => true);
        alter table items drop column price;
        --
        revoke select (brand) on items from {worker}
        """,
        ("exposed_columns", "exposed_columns"),
    ),
    "vectors of a model that nobody runs": Fault(
        "update sidecar_internal.watches set fingerprint = 'other', encoder = 'older' where id = 1",
        ("fingerprints",),
    ),
    "vectors of a length that nobody makes": Fault(
        "update sidecar_internal.sidecars set dimensions = 4",
        ("fingerprints", "fingerprints"),
        meanwhile="update sidecar_internal.sidecars set dimensions = 3",
        in_psql=False,
    ),
    "two models may claim a watch": Fault(
        """
        update sidecar_internal.watches set fingerprint = null where id = 1;
        insert into sidecar_internal.sidecars (id, host, pid, version, model, fingerprint, dimensions)
            values (gen_random_uuid(), 'b', 1, '0', 'n', 'g', 3)
        """,
        ("fingerprints",),
    ),
    "somebody wrote vectors past the triggers": Fault(
        "set sidecar.writer = 'on'; update items set e = '[9,9,9]' where id < 4; reset sidecar.writer",
        ("strangers",),
    ),
    "a companion holds what is gone": Fault(
        """
        set session_replication_role = replica;
        delete from items where id < 4;
        reset session_replication_role
        """,
        ("companion_orphans",),
    ),
    "rows failed": Fault(
        """
        set sidecar.writer = 'on';
        update items set e = null where id = 4;
        reset sidecar.writer;
        update sidecar_internal.ledger_1 set content_hash = 'failed', vector_digest = null where k1 = 4;
        insert into sidecar_internal.failures (watch_id, key, gen, attempts, reason, message)
            values (1, '{"id": 4}', 1, 5, 'worker_crashed', 'It ended five times.')
        """,
        ("failures",),
        meanwhile="delete from sidecar_internal.failures; delete from sidecar_internal.events_1",
    ),
    "no sidecar runs": Fault(
        """
        create table before as select * from sidecar_internal.sidecars;
        delete from sidecar_internal.sidecars
        """,
        ("sidecars",),
        meanwhile="insert into sidecar_internal.sidecars select * from before",
        in_psql=False,
    ),
    "a sidecar's clock is wrong": Fault(
        "update sidecar_internal.sidecars set clock_skew_s = -30",
        ("sidecar_clocks",),
        meanwhile="update sidecar_internal.sidecars set clock_skew_s = 0",
        in_psql=False,
    ),
    "autovacuum is off for a queue": Fault(
        "alter table sidecar_internal.events_1 set (autovacuum_enabled = off)",
        ("autovacuum",),
    ),
    "autovacuum is off for a watched table": Fault(
        "alter table items set (autovacuum_enabled = off)",
        ("autovacuum",),
    ),
    "dead rows in a queue": Fault(
        """
        insert into sidecar_internal.events_1 (k1) select i from generate_series(1, 100001) i;
        delete from sidecar_internal.events_1;
        select pg_stat_force_next_flush()
        """,
        ("dead_rows",),
        meanwhile="select pg_stat_force_next_flush()",
    ),
    "the database is read-only": Fault(
        "alter database {database} set default_transaction_read_only = on",
        ("read_only",),
    ),
    "the role of a sidecar may only read": Fault(
        _WORKER + "alter role {worker} set default_transaction_read_only = on",
        ("read_only_roles",),
    ),
    "the role of a sidecar may only read in this database": Fault(
        _WORKER + "alter role {worker} in database {database} set default_transaction_read_only = true",
        ("read_only_roles",),
    ),
    "a watch is paused": Fault("select sidecar.pause('items', 'v')", ("paused",)),
}
