"""Events whose generation says nothing about the order of contents: those of scans, retries and delays take theirs
without the lock of the row, so that a generation of an edit that is not committed yet may lie below.
"""

from __future__ import annotations

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import Connection, run, user, watch

IN_ROW_AND_COMPANION = pytest.mark.parametrize("companion", [None, "items_embeddings"])


@IN_ROW_AND_COMPANION
async def test_a_backfill_does_not_overtake_an_edit_that_commits_after_it_read(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    await run(db, "create table items (id bigint primary key, title text)")
    await run(db, "insert into items values (1, 'old')")
    table = await watch(db, ["items"], ["title"], companion=companion)
    async with running_ingest(database_url, encoder), user(database_url, autocommit=False) as editor:
        await table.settle_right(encoder)
        encoder.close()
        await run(editor, "update items set title = 'new'")  # its generation is the lower one
        await run(db, "select sidecar.reembed('items')")
        await encoder.until_held()  # the backfill read 'old'
        await editor.commit()
        encoder.open()

        await table.settle_right(encoder)
