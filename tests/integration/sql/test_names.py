"""Names that a caller may have meant."""

from __future__ import annotations

import pytest

from tests.integration.sql.session import Connection, run


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [("titel", "Did you mean 'title'? "), ("photo", "Did you mean 'photo_embedding'? "), ("xyz", ""), (None, "")],
)
def test_the_most_similar_name_is_meant(db: Connection, wanted: str | None, hint: str) -> None:
    names = ["brand", "title", "photo_embedding"]
    assert run(db, "select sidecar_internal.did_you_mean(%s, %s::text[])", wanted, names) == [(hint,)]


def test_it_is_found_among_many_long_and_similar_names(db: Connection) -> None:
    names = [f"metrics_of_customer_{i:04d}_hourly_rollup_by_region" for i in range(1500)]
    run(db, "set local statement_timeout = '5s'")  # splitting the names again for each comparison takes 20 s
    found = run(db, "select sidecar_internal.did_you_mean('metrics_of_custmer_0123_hourly_rollup', %s::text[])", names)
    assert found == [(f"Did you mean '{names[123]}'? ",)]
