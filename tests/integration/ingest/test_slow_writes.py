"""Writes that exceed the timeout are split, so that the user's rows are locked no longer than that."""

from __future__ import annotations

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_texts
from tests.integration.ingest.watched_table import Connection, run, value

AT_ONCE = 10
# A trigger that takes too long where there are many rows: it raises what a timeout raises.
TOO_SLOW = f"""
    create function end_if_slow() returns trigger language plpgsql as $$
    begin
        if (select count(*) from written) > {AT_ONCE} then
            raise exception 'this takes too long' using errcode = '{{}}';
        end if;
        return null;
    end $$;
    create trigger slow after update on items referencing new table as written
        for each statement execute function end_if_slow();
"""


@pytest.mark.parametrize("code", ["57014", "25P04"])
async def test_a_batch_that_takes_too_long_is_written_in_parts(
    database_url: str, db: Connection, encoder: GatedEncoder, code: str
) -> None:
    table = await make_texts(db)
    await run(db, TOO_SLOW.format(code))
    await insert_titles(db, 1, 100)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    assert await table.failures() == {}
    assert max(encoder.texts.values()) == 1


async def test_old_vectors_that_take_too_long_to_clear_are_cleared_in_parts(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 100)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
    await run(db, TOO_SLOW.format("57014"))
    other = GatedEncoder("other")
    await run(db, "select sidecar.reembed('items', model => %s)", other.fingerprint)
    async with running_ingest(database_url, other):
        await table.settle_right(other)
    assert await value(db, "select count(*) from sidecar.failures") == 0
