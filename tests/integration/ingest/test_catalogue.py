"""When a watch whose statements fail is marked as broken."""

from __future__ import annotations

from uuid import uuid4

from pydantic import SecretStr

from sidecar.errors import WatchChanged
from sidecar.ingest.catalogue import MAX_FAILURES, Catalogue
from sidecar.postgres.database import Database
from sidecar.postgres.heartbeat import Identity
from tests.integration.ingest.items import make_texts
from tests.integration.ingest.watched_table import Connection, run, value


async def test_failures_count_in_a_row_and_start_again_when_the_watch_has_changed(
    database_url: str, db: Connection
) -> None:
    await make_texts(db, 1)
    database = Database(SecretStr(database_url))
    await database.open()
    try:
        catalogue = Catalogue(database, Identity(uuid4(), "hash", "hash", 1152))
        await _strike(catalogue, MAX_FAILURES - 1)
        await run(db, "alter table items rename title to name")
        await _strike(catalogue, MAX_FAILURES - 1)
        assert await value(db, "select broken from sidecar_internal.watches") is None
        await _strike(catalogue, 1)
        assert await value(db, "select broken from sidecar_internal.watches") == "a column is gone"
    finally:
        await database.close()


async def _strike(catalogue: Catalogue, times: int) -> None:
    for _ in range(times):
        catalogue.stale = True
        await catalogue.refresh()
        await catalogue.report_failure(catalogue.all[0], WatchChanged("a column is gone"))
