"""A sidecar that is frozen in the middle of its work, behind a pooler, which keeps the session open."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.test_frozen import BOUND_S, ENCODER, OPERATIONS, guarded, make_table, ready_sidecar
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
            ready = partial(ready_sidecar, database_url, operation=operation, warm=False, pooler=pooler)
            async with ready(await make_table(db, "measured", operation)) as sidecar:
                messages, _ = await sidecar.work_until_frozen(float("inf"))
            positions = range(len(messages), len(messages) // 3, -EVERY)  # in the first third, nothing is locked yet
            tables = [await make_table(db, f"frozen_{i}", operation) for i in positions]
            async with AsyncExitStack() as stack:
                sidecars = [await stack.enter_async_context(ready(table)) for table in tables]
                async with guarded(pooler):
                    works = (each.work_until_frozen(i) for i, each in zip(positions, sidecars, strict=True))
                    ends = await asyncio.gather(*works)
            waits_s = {f"{i} {passed[-1]}": waited_s for i, (passed, waited_s) in zip(positions, ends, strict=True)}
            assert max(waits_s.values()) < BOUND_S, waits_s

            async with running_ingest(database_url, ENCODER):
                for table in tables:
                    await table.settle_after_crashes()
                    assert not (wrong := await table.wrong(ENCODER)), wrong
