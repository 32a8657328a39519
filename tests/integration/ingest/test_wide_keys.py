"""Keys that are too wide for an index once they are JSON."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, picture, run, value, watch


@in_row_and_companion
async def test_a_failure_with_a_wide_key_is_recorded_shown_retried_and_resolved(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    await run(db, "create table items (id bytea primary key, photo bytea)")
    # Two incompressible keys of 1,408 bytes with the same beginning.
    await run(
        db,
        """
        insert into items
        select string_agg(sha256(i::text::bytea), '' order by i) || convert_to(n::text, 'UTF8'), 'none'
        from generate_series(1, 44) i, generate_series(1, 2) n group by n
        """,
    )
    table = await watch(db, ["items"], ["photo"], companion=companion)
    async with running_ingest(database_url, encoder, pictures=True):
        await table.settle()
        assert await value(db, "select state from sidecar.status") == "up to date, but 2 rows failed"
        failures = await run(db, "select key->>'id', reason from sidecar.failures")
        keys = {key for (key,) in await run(db, "select id::text from items")}
        assert {key for key, _ in failures} == keys
        assert {key for (key,) in await run(db, "select example_key->>'id' from sidecar.failures_by_reason")} <= keys

        key = min(keys)
        with pytest.raises(psycopg.Error, match="cannot be embedded: not_a_picture") as caught:
            await run(
                db, "call sidecar.wait_embedded('items', jsonb_build_object('id', %s::text), timeout_ms => 0)", key
            )
        assert caught.value.sqlstate == "SC002"
        assert await value(db, "select sidecar.retry('items', key => jsonb_build_object('id', %s::text))", key) == 1
        await table.settle()
        await run(db, "update items set photo = %s where id::text = %s", picture(1), key)
        await table.settle()
        assert [left for (left,) in await run(db, "select key->>'id' from sidecar.failures")] == [max(keys)]
        await run(db, "select sidecar.verify('items')")
        await table.settle()
        assert await value(db, "select found from sidecar_internal.scans where purpose = 'verify'") == 0
        await run(db, "truncate items")
        await table.settle()
        assert await run(db, "select * from sidecar_internal.failures") == []
