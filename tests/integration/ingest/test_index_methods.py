"""A running sidecar builds, uses, replaces and repairs indexes of every method."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.ingest.composition import DIMENSIONS, running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, make_texts
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value
from tests.integration.sql.fake_methods import statements_of
from tests.waiting import wait_until_async

INDEXES = """
    select c.relname, a.amname, i.indisvalid, o.opcname, coalesce(c.reloptions, '{}')
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
    join pg_opclass o on o.oid = i.indclass[0]
    where a.amname <> 'btree' and o.opcname ~ 'cosine' and c.relkind = 'i' order by c.relname
"""
KEY = "((embedding::halfvec(16)) halfvec_cosine_ops)"


async def until_only(db: Connection, method: str, kind: str, options: list[str]) -> str:
    """Waits until there is one index, valid and as wanted; its name."""

    async def is_alone() -> bool:
        found = [tuple(row[1:]) for row in await run(db, INDEXES)]
        return found == [(method, True, f"{kind}_cosine_ops", options)]

    await wait_until_async(is_alone, f"one {method} index", timeout_s=20)
    [(name, *_)] = await run(db, INDEXES)
    return str(name)


async def watch_again(db: Connection, index: str, companion: str | None = None) -> None:
    await run(
        db,
        "select sidecar.watch('items', 'title', target => 'embedding', dimensions => %s, companion => %s, index => %s, "
        "replace => true)",
        DIMENSIONS,
        companion,
        index,
    )


async def index_of_search(db: Connection, table: WatchedTable) -> str:
    """The index in the plan of the documented query, with sorting disabled: for so few rows it would be preferred."""
    query = await value(db, "select query from sidecar.status where watch_id = %s", table.watch_id)
    async with db.transaction(force_rollback=True):
        await run(db, "set local enable_sort = off")
        await run(db, "set local enable_seqscan = off")
        plan = await value(db, f"explain (format json) {query.replace('$1', '%s')}", str([0.5] * DIMENSIONS))
    nodes: list[dict[str, Any]] = [plan[0]["Plan"] if not isinstance(plan, str) else json.loads(plan)[0]["Plan"]]
    names = []
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        names += [node["Index Name"]] if node["Node Type"] == "Index Scan" and "Order By" in node else []
    [name] = names
    return str(name)


@in_row_and_companion
@pytest.mark.parametrize(
    ("index", "method", "kind", "options"),
    [
        ("hnsw", "hnsw", "halfvec", []),
        ("using hnsw with (m = 24, ef_construction = 128)", "hnsw", "halfvec", ["m=24", "ef_construction=128"]),
        ("ivfflat", "ivfflat", "halfvec", ["lists=10"]),
        ("using ivfflat (embedding) with (lists = 4)", "ivfflat", "vector", ["lists=4"]),
        ("vchordrq", "vchordrq", "vector", []),
        ("using diskann (embedding vector_cosine_ops)", "diskann", "vector", []),
    ],
)
async def test_the_index_is_built_and_the_documented_query_uses_it(  # noqa: PLR0913, PLR0917
    database_url: str,
    db: Connection,
    encoder: GatedEncoder,
    companion: str | None,
    index: str,
    method: str,
    kind: str,
    options: list[str],
) -> None:
    for name in ("vchordrq", "diskann"):
        await run(db, statements_of(name))
    table = await make_texts(db, 50, index=index, companion=companion)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        name = await until_only(db, method, kind, options)
    assert name == f"{companion or 'items'}_embedding_{method}_1"
    assert await index_of_search(db, table) == name
    shown = "select index, index_statement, state from sidecar.status"
    assert await run(db, shown) == [(f"public.{name}", None, "no sidecar is running")]
    found = await run(db, "select s.key->>'id' from sidecar.search('items', %s, k => 5) s", str([0.5] * DIMENSIONS))
    assert len(found) == 5


@in_row_and_companion
async def test_a_change_of_method_or_options_builds_the_new_index_and_then_drops_the_former(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, 20, index="hnsw", companion=companion)
    home = companion or "items"
    oid = await value(db, "select to_hex(%s::text::regclass::oid::bigint)", home)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        names = [await until_only(db, "hnsw", "halfvec", [])]
        for index, method, kind, options in [
            ("using hnsw with (m = 24)", "hnsw", "halfvec", ["m=24"]),
            ("using hnsw with (m = 12)", "hnsw", "halfvec", ["m=12"]),
            ("ivfflat", "ivfflat", "halfvec", ["lists=10"]),
            ("using ivfflat with (lists = 3)", "ivfflat", "halfvec", ["lists=3"]),
            ("vector", "hnsw", "vector", []),
        ]:
            await watch_again(db, index, companion)
            names.append(await until_only(db, method, kind, options))
            assert await index_of_search(db, table) == names[-1]
        await watch_again(db, "none", companion)

        async def is_gone() -> bool:
            return await run(db, INDEXES) == []

        await wait_until_async(is_gone, "the index to go")
    plain, odd = f"{home}_embedding_hnsw_1", f"{home}_embedding_{oid}_hnsw_1"
    ivfflat = [f"{home}_embedding_ivfflat_1", f"{home}_embedding_{oid}_ivfflat_1"]
    assert names == [plain, odd, plain, *ivfflat, plain]


async def test_the_former_index_serves_until_the_new_one_is_there(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 20, index="hnsw")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        await until_only(db, "hnsw", "halfvec", [])
    await watch_again(db, "ivfflat")
    assert await index_of_search(db, table) == "items_embedding_hnsw_1"
    [(state, statement)] = await run(db, "select index, index_statement from sidecar.status")
    assert state == "not built yet (to be dropped: public.items_embedding_hnsw_1)"
    assert statement == (
        "create index concurrently items_embedding_ivfflat_1 on public.items "
        "using ivfflat ((embedding::public.halfvec(16)) public.halfvec_cosine_ops) with (lists = 10);\n"
        "drop index concurrently if exists public.items_embedding_hnsw_1"
    )


async def test_a_change_back_during_a_build_keeps_the_index_that_is_wanted_again(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """The change comes between two statements, where no lock of the build delays it."""
    table = await make_texts(db, 20, index="hnsw")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        before = await value(db, "select %s::text::regclass::oid", await until_only(db, "hnsw", "halfvec", []))
    await run(
        db,
        """
        create function hold() returns event_trigger language plpgsql as $$ begin
            if exists (select from pg_event_trigger_ddl_commands() where object_identity like '%ivfflat%') then
                perform pg_advisory_xact_lock(77);
            end if;
        end $$;
        create event trigger hold on ddl_command_end when tag in ('CREATE INDEX') execute function hold();
        """,
    )
    held = "select count(*) from pg_locks where locktype = 'advisory' and objid = 77 and not granted"
    await watch_again(db, "ivfflat")
    async with user(database_url) as holder:
        await run(holder, "select pg_advisory_lock(77)")
        async with running_ingest(database_url, encoder):

            async def is_built() -> bool:
                return bool(await value(db, held))

            await wait_until_async(is_built, "the end of the build", timeout_s=20)
            await watch_again(db, "hnsw")
            await run(holder, "select pg_advisory_unlock(77)")
            after = await value(db, "select %s::text::regclass::oid", await until_only(db, "hnsw", "halfvec", []))
    assert after == before


async def test_an_invalid_ivfflat_index_is_dropped_and_built_again(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 5, index="ivfflat")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        name = await until_only(db, "ivfflat", "halfvec", ["lists=10"])
    before = await value(db, "select %s::text::regclass::oid", name)
    await run(db, "update pg_index set indisvalid = false where indexrelid = %s::text::regclass", name)
    assert await value(db, "select index from sidecar.status") == f"invalid: public.{name}"
    async with running_ingest(database_url, encoder):
        await until_only(db, "ivfflat", "halfvec", ["lists=10"])
    assert await value(db, "select %s::text::regclass::oid", name) != before


async def test_users_indexes_of_another_method_stay(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 20, index="hnsw")
    await run(db, f"create index theirs on items using ivfflat {KEY} with (lists = 2)")
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)

        async def is_built() -> bool:
            return [row[0] for row in await run(db, INDEXES)] == ["items_embedding_hnsw_1", "theirs"]

        await wait_until_async(is_built, "the index")
        await watch_again(db, "ivfflat")

        async def is_accepted() -> bool:
            return [row[0] for row in await run(db, INDEXES)] == ["theirs"]

        await wait_until_async(is_accepted, "ours to go, since theirs serves")
    assert await value(db, "select index from sidecar.status") == "public.theirs"


async def test_an_index_that_its_method_cannot_build_is_reported(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """HNSW wants ef_construction to be twice m; it says so only when it builds."""
    table = await make_texts(db, 20, index="none")
    await run(
        db,
        "update sidecar_internal.watches set index_kind = 'halfvec', index_options = '{m=50,ef_construction=64}'",
    )
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)

        async def has_failed() -> bool:
            return "ef_construction" in str(await value(db, "select index from sidecar.status"))

        await wait_until_async(has_failed, "the failure", timeout_s=20)
    assert str(await value(db, "select index from sidecar.status")).startswith("building failed: ")
    assert await run(db, INDEXES) == []
