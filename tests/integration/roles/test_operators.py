"""Failures, pausing and retrying over REST, as the worker's role, which has only its grants."""

from __future__ import annotations

from tests.integration.http.errors import assert_error
from tests.integration.ingest.watched_table import Connection, run
from tests.integration.roles.cast import Stage
from tests.integration.roles.test_search import make_shop
from tests.integration.search.shop import make_encoder, searching

_FAILURE = """
    insert into sidecar_internal.failures (watch_id, key, gen, attempts, reason, message)
    select id, '{"id": 2}', 1, 1, 'no_vector', 'm' from sidecar_internal.watches
"""


async def test_the_worker_may_do_all_and_without_its_rights_is_told_so(stage: Stage, admin: Connection) -> None:
    make_shop(stage)
    await run(admin, _FAILURE)
    async with searching(stage.worker, make_encoder()) as client:
        assert (await client.post("/pause", json={"table": "products"})).json() == {"watches": 1}
        assert (await client.post("/resume", json={})).json() == {"watches": 1}
        assert (await client.post("/rate", json={"rows_per_s": 5})).json() == {"watches": 1}
        assert (await client.post("/retry", json={"table": "products", "keys": [2]})).json() == {"rows": 1}
        assert [row["key"] for row in (await client.get("/failures")).json()["failures"]] == [{"id": 2}]
        await run(admin, f'revoke update (paused) on sidecar_internal.watches from "{stage.cast.worker}"')
        denied = await client.post("/pause", json={})
        assert_error(denied, 503, "search_denied", "The sidecar's role may not do that: permission denied")
