"""pgvector dropped, or older than required, while tables are watched: status names the fault and the remedy."""

from __future__ import annotations

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion, make_texts
from tests.integration.ingest.watched_table import Connection, run, value, watch
from tests.waiting import wait_until_async

STATES = "select array_agg(state order by watch_id) from sidecar.status"
DROP = "drop extension vector cascade"


@in_row_and_companion
async def test_status_names_a_dropped_extension_and_the_remedy_it_states_repairs_the_watch(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    table = await make_texts(db, 5, companion=companion)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    await run(db, DROP)

    [state] = await value(db, STATES)
    name = await value(db, "select current_database()")
    assert state == (
        f'broken: the pgvector extension is not installed in database "{name}". Run: create extension vector; '
        "Then call sidecar.watch again"
    )
    assert await value(db, "select count(*) from sidecar.status_exact('items')") == 1
    await run(db, "create extension vector")
    state = (await value(db, STATES))[0]
    if companion is not None:
        await run(db, state.partition(": ")[2].partition(": ")[2].partition("; then")[0])
        state = (await value(db, STATES))[0]
    assert state.endswith("call sidecar.watch again")
    again = await watch(db, ["items"], ["title"], companion=companion)
    assert again.watch_id == table.watch_id
    async with running_ingest(database_url, encoder):
        await again.settle_right(encoder)


async def test_status_names_an_extension_that_is_too_old(db: Connection) -> None:
    await make_texts(db)
    await make_texts_beside(db)
    await run(db, "update pg_extension set extversion = '0.7.4' where extname = 'vector'")
    for state in await value(db, STATES):
        assert state == (
            "broken: pgvector 0.7.4 is too old: 0.8.0 or newer is needed. "
            "Install a newer pgvector, then: alter extension vector update;"
        )


async def make_texts_beside(db: Connection) -> None:
    await watch(db, ["items"], ["title"], target="other", companion="others")


async def test_a_running_sidecar_refills_a_watch_after_its_extension_is_recreated(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 5)
    async with running_ingest(database_url, encoder) as running:
        await table.settle_right(encoder)
        await run(db, DROP)
        await run(db, "update items set title = title || '!'")

        async def is_named() -> bool:
            return "pgvector" in (await value(db, STATES))[0]

        await wait_until_async(is_named, "the state to say so")
        await run(db, "create extension vector")
        again = await watch(db, ["items"], ["title"])
        await again.settle_right(encoder)
        assert not running.task.done()
