"""The statements that take a batch of keys are planned without loops over the batch, which would be quadratic."""

from __future__ import annotations

from pydantic import SecretStr

from sidecar.postgres.database import Database
from sidecar.postgres.session_settings import PLANNING
from sidecar.postgres.watches import load_watches
from tests.integration.ingest.items import in_row_and_companion, make_texts
from tests.integration.ingest.watched_table import Connection, run

IN_ROW = ("lock_rows", "clear_vectors_in_row")
IN_COMPANION = ("lock_vectors", "find_existing_vectors", "clear_vectors_in_companion")
EVERYWHERE = (
    *("recheck_unchanged", "finish", "delete_new_entries", "delete_events"),
    *("delete_failures", "record_failures", "read_rows", "renew_lease", "release", "delay", "delete_entries"),
)


@in_row_and_companion
async def test_no_statement_compares_each_key_of_a_batch_with_each_other_key(
    database_url: str, db: Connection, companion: str | None
) -> None:
    """A generic plan expects ten rows of an array, for which a nested loop looks cheap; a batch has 256."""
    await make_texts(db, 1000, companion=companion)
    await run(db, "analyze items")
    for name, setting in PLANNING.items():
        await run(db, f"set {name} = '{setting}'")
    database = Database(SecretStr(database_url))
    await database.open()
    try:
        async with database.connection() as connection:
            [watch] = await load_watches(connection)
    finally:
        await database.close()
    names = (*EVERYWHERE, *(IN_COMPANION if companion else IN_ROW))
    plans = {name: await run(db, f"explain (generic_plan) {watch.sql(name)}") for name in names}
    # A join filter is a comparison in a nested loop that no index helps.
    assert [name for name, lines in plans.items() if any("Join Filter" in line for (line,) in lines)] == []
