"""A sidecar that is frozen in the middle of its work, behind a pooler, which keeps the session open."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.test_frozen import BOUND_S, ENCODER, OPERATIONS, guarded, make_table, work_until_frozen
from tests.integration.ingest.watched_table import user
from tests.integration.pooler.pgbouncer import PROGRAM, pgbouncer

if PROGRAM is None:
    pytest.skip("the program pgbouncer is not on this machine", allow_module_level=True)

EVERY = 4  # the pooler has ten connections to the server


@pytest.mark.parametrize("name", ["warm-complete", "cold-clear"])
async def test_users_wait_no_longer_than_the_bound_behind_a_pooler(
    database_url: str, open_tmp_path: Path, name: str
) -> None:
    _, operation = OPERATIONS[name]
    with pgbouncer(open_tmp_path, database_url) as pooler:
        async with user(database_url) as db:
            freeze = partial(work_until_frozen, database_url, operation=operation, warm=False, pooler=pooler)
            messages, _ = await freeze(await make_table(db, "measured", operation), messages=float("inf"))
            positions = range(len(messages), len(messages) // 3, -EVERY)  # in the first third, nothing is locked yet
            tables = [await make_table(db, f"frozen_{i}", operation) for i in positions]
            async with guarded(pooler):
                ends = await asyncio.gather(
                    *(freeze(table, messages=i) for i, table in zip(positions, tables, strict=True))
                )
            waits_s = {f"{i} {passed[-1]}": waited_s for i, (passed, waited_s) in zip(positions, ends, strict=True)}
            assert max(waits_s.values()) < BOUND_S, waits_s

            async with running_ingest(database_url, ENCODER):
                for table in tables:
                    await table.settle_after_crashes()
                    assert not (wrong := await table.wrong(ENCODER)), wrong
