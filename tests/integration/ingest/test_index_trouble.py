"""HNSW indexes that cannot be built for now, and indexes that are no longer wanted."""

from __future__ import annotations

import logging

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, make_texts
from tests.integration.ingest.watched_table import Connection, run, user, value, watch
from tests.waiting import wait_until_async

# From the catalogue's rows alone: pg_get_indexdef() fails for an index that is dropped while the statement runs.
INDEXES = """
    select c.relname, i.indisvalid, substring(o.opcname from '(\\w+)_cosine_ops')
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
    join pg_opclass o on o.oid = i.indclass[0]
    where a.amname = 'hnsw' and c.relkind = 'i' order by c.relname
"""
# Lets a superuser have indexes on `items` refused.
REFUSE = """
    create function refuse() returns event_trigger language plpgsql as $$
    begin if current_query() like '%items_embedding%' then raise 'not on a Sunday'; end if; end $$;
    create event trigger refuse on ddl_command_start when tag in ('CREATE INDEX') execute function refuse()
"""


async def until(db: Connection, query: str, what: str) -> None:
    async def is_so() -> bool:
        return bool(await value(db, query))

    await wait_until_async(is_so, what, timeout_s=20)


async def until_indexed(db: Connection, kind: str = "halfvec") -> None:
    """Waits until there is one index of ours, and no other valid one."""

    async def is_alone() -> bool:
        return [tuple(row[1:]) for row in await run(db, INDEXES)] == [(True, kind)]

    await wait_until_async(is_alone, f"one index on {kind}", timeout_s=20)


async def set_for_database(db: Connection, *settings: str) -> None:
    for setting in settings:
        await run(db, f'alter database "{db.info.dbname}" set {setting}')


async def test_a_build_may_take_longer_than_the_timeouts_of_role_and_database(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 20, index="halfvec")
    names = ["statement_timeout"] + ["transaction_timeout"] * (db.info.server_version >= 170000)
    async with user(database_url, autocommit=False) as old:
        await set_for_database(db, *(f"{name} = '1s'" for name in names))
        await run(old, "insert into items values (1000, 'x')")  # an older transaction: a build waits for it
        async with running_ingest(database_url, encoder):
            await table.settle_right(encoder)
            await until(
                db,
                """
                select count(*) from pg_stat_activity
                where query like 'create index%' and query_start < clock_timestamp() - interval '1.2 s'
                """,
                "a build that takes longer than the timeouts",
            )
            await old.rollback()
            await until_indexed(db)
    assert await run(db, "select * from sidecar_internal.index_failures") == []


async def test_a_build_that_needs_more_shared_memory_than_there_is_runs_serially(
    database_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    table = await make_texts(db, 200, index="halfvec")
    await set_for_database(db, "maintenance_work_mem = '900GB'", "min_parallel_table_scan_size = 0")
    await run(db, "alter table items set (parallel_workers = 2)")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await until_indexed(db)
        await until(db, "select state = 'up to date' from sidecar.status", "rest")
    assert "again, without parallel workers" in caplog.text
    assert await run(db, "select * from sidecar_internal.index_failures") == []


async def test_a_failed_build_shows_in_status_and_is_left_alone_for_a_while_by_every_sidecar(
    database_url: str, db: Connection, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    table = await make_texts(db, 10, index="halfvec")
    await run(db, REFUSE)
    async with running_ingest(database_url, encoder), running_ingest(database_url, GatedEncoder()):
        await table.settle_right(encoder)
        # The failure is recorded a moment before the attempt ends: until then `index` says that it is building.
        failed = "building failed: not on a Sunday (next try in %%"
        await until(db, f"select state = index and state like '{failed}' from sidecar.status", "status to tell of it")
    async with running_ingest(database_url, encoder):  # a restart does not shorten the delay
        await run(db, "create table later (id bigint primary key, title text)")
        await run(db, "insert into later values (1, 'a')")
        await watch(db, ["later"], ["title"], index="halfvec")
        # The keeper goes through the watches in order: it has skipped the one whose retry is pending.
        await until(db, "select index like '%later%' from sidecar.status where watch_id = 2", "the other's index")
        assert await value(db, "select attempts from sidecar_internal.index_failures") == 1
        await run(db, "update sidecar_internal.index_failures set next_try_at = now()")
        await until(db, "select attempts = 2 from sidecar_internal.index_failures", "the next attempt")
        waits = "select extract(epoch from next_try_at - failed_at)::float8 from sidecar_internal.index_failures"
        assert 2 * 30 * 0.75 - 1 <= await value(db, waits) <= 2 * 30 * 1.25
        await run(db, "drop event trigger refuse")
        await run(db, "update sidecar_internal.index_failures set next_try_at = now()")
        await until(
            db, "select bool_and(state = 'up to date' and index like '%hnsw%') from sidecar.status", "both indexes"
        )
    assert await run(db, "select * from sidecar_internal.index_failures") == []
    assert sum("not on a Sunday" in r.message for r in caplog.records if r.levelno >= logging.WARNING) == 2


async def test_the_delay_after_failures_grows_to_an_hour(db: Connection) -> None:
    from sidecar.postgres.statements import statement

    table = await make_texts(db, index="halfvec")
    record = statement("record_index_failure")
    for n, name in enumerate(("$1", "$2", "$3", "$4")):
        record = record.replace(name, ("%d", "'why'", "30", "3600")[n] if n else str(table.watch_id))
    waits = [float(await value(db, record)) for _ in range(12)]
    assert waits[0] < 40
    assert waits[4] > 300
    assert all(3600 * 0.7 < wait < 3600 * 1.3 for wait in waits[-3:])


async def test_a_build_that_fails_halfway_leaves_no_invalid_index(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """An invalid index would slow every write until the next attempt."""
    table = await make_texts(db, 20)
    await run(db, "create table later (id bigint primary key, title text)")
    await run(db, "insert into later values (1, 'a')")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await run(db, "set sidecar.writer = 'on'")
        await run(db, "update items set embedding = array_fill(1e6::real, '{16}')::vector where id = 7")
        await run(db, "update sidecar_internal.watches set index_kind = 'halfvec'")
        await watch(db, ["later"], ["title"], index="halfvec")
        await until(db, "select message ~ 'out of range' from sidecar_internal.index_failures", "the build to fail")
        await until(db, "select index like '%later%' from sidecar.status where watch_id = 2", "the other")
        await until(db, f"select bool_and(i.indisvalid) from ({INDEXES}) i", "the leftover to go")
        assert [name for name, _, _ in await run(db, INDEXES)] == ["later_embedding_hnsw_2"]


@in_row_and_companion
@pytest.mark.parametrize(("before", "after"), [("halfvec", "vector"), ("vector", "halfvec"), ("halfvec", "none")])
async def test_the_former_index_is_dropped_when_another_kind_is_wanted_and_users_indexes_stay(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None, before: str, after: str
) -> None:
    table = await make_texts(db, 20, index=before, companion=companion)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await until_indexed(db, before)
        home = companion or "items"
        await run(db, f"create index theirs on {home} using hnsw (embedding vector_l2_ops)")
        await run(db, f"create index theirs_hnsw_7 on {home} using hnsw (embedding vector_cosine_ops) where id > 5")
        notices: list[str] = []
        db.add_notice_handler(lambda notice: notices.append(f"{notice.message_primary} {notice.message_hint}"))
        await watch(db, ["items"], ["title"], index=after, companion=companion, replace=True)
        assert any("serves this watch no longer" in n and "drop index concurrently" in n for n in notices)

        async def is_done() -> bool:
            found = {(name, kind) for name, valid, kind in await run(db, INDEXES) if valid}
            ours = {kind for name, kind in found if not name.startswith("theirs")}
            assert len(found) - len(ours) == 2, "an index of the user's is gone"
            return ours == ({after} - {"none"}) and bool(
                await value(db, "select index_statement is null and state = 'up to date' from sidecar.status")
            )

        await wait_until_async(is_done, "the former index to go", timeout_s=20)
        await table.settle_right(encoder)


async def test_the_former_index_of_a_partition_tree_is_dropped(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(db, "create table items (id bigint primary key, title text) partition by range (id)")
    await run(db, "create table low partition of items for values from (0) to (10) partition by range (id)")
    await run(db, "create table lowest partition of low for values from (0) to (10)")
    await run(db, "create table high partition of items for values from (10) to (100)")
    await run(db, "insert into items select i, 'title ' || i from generate_series(1, 20) i")
    table = await watch(db, ["items"], ["title"], index="halfvec")
    kinds = f"select array_agg(distinct i.substring order by i.substring)::text from ({INDEXES}) i where indisvalid"
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await until(db, f"select index_statement is null and ({kinds}) = '{{halfvec}}' from sidecar.status", "indexes")
        for kind, left in (("vector", "'{vector}'"), ("none", "null")):
            await watch(db, ["items"], ["title"], index=kind, replace=True)
            await until(
                db,
                f"select index_statement is null and ({kinds}) is not distinct from {left} from sidecar.status",
                f"indexes of kind {kind} alone",
            )


async def test_an_invalid_leftover_beside_a_valid_index_is_dropped(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """An interrupted REINDEX CONCURRENTLY leaves one."""
    table = await make_texts(db, 10, index="halfvec")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await until_indexed(db)
        name = f"items_embedding_hnsw_{table.watch_id}_ccnew"
        await run(db, f"create index {name} on items using hnsw ((embedding::halfvec(16)) halfvec_cosine_ops)")
        await run(db, f"update pg_index set indisvalid = false where indexrelid = '{name}'::regclass")
        await until_indexed(db)
        assert [row[0] for row in await run(db, INDEXES)] == [f"items_embedding_hnsw_{table.watch_id}"]


async def test_a_former_index_that_the_sidecar_may_not_drop_is_logged_with_the_statement_that_drops_it(
    db: Connection,
) -> None:
    table = await make_texts(db, 1, index="halfvec")
    name = f"old_hnsw_{table.watch_id}"
    await run(db, f"create index {name} on items using hnsw (embedding vector_cosine_ops)")
    index, todo = (await run(db, "select index, index_statement from sidecar.status"))[0]
    assert index == f"not built yet (to be dropped: public.{name})"
    assert todo.splitlines()[-1] == f"drop index concurrently if exists public.{name}"
