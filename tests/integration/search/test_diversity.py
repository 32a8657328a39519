"""`diversity`: rows like those above them give way to others."""

from __future__ import annotations

import httpx
import pytest

from tests.encoders import HashEncoder
from tests.integration.http.errors import assert_error
from tests.integration.search.shop import TITLES, claim_space, keys, search, vector_literal
from tests.integration.sql.session import Connection, run


@pytest.fixture
def duplicates(db: Connection, encoder: HashEncoder) -> HashEncoder:
    """Three more red bicycles, 11 to 13."""
    run(db, "set sidecar.writer = 'on'")
    for row in (11, 12, 13):
        bicycle = vector_literal(encoder, "red bicycle")
        run(db, "insert into products (id, title, tenant, e) values (%s, 'red bicycle', 7, %s::vector)", row, bicycle)
    run(db, "reset sidecar.writer")
    claim_space(db, encoder)
    return encoder


async def test_duplicates_are_followed_by_other_rows(client: httpx.AsyncClient, duplicates: HashEncoder) -> None:
    plain = await search(client, text="red bicycle", k=4)
    assert keys(plain) == [1, 11, 12, 13]
    assert {result["similarity_above"] for result in plain["results"]} == {None}
    diverse = await search(client, text="red bicycle", k=4, diversity=0.6)
    assert keys(diverse)[0] == 1
    assert not {11, 12, 13} & set(keys(diverse))
    first, *others = diverse["results"]
    assert first["similarity_above"] is None
    for place, result in enumerate(others, 1):
        own = duplicates.vector_of(TITLES[result["key"]["id"] - 1])
        above = [duplicates.vector_of(TITLES[key - 1]) for key in keys(diverse)[:place]]
        assert result["similarity_above"] == pytest.approx(max(float(own @ each) for each in above), abs=1e-5)
    assert diverse["stages_ms"]["diversity"] is not None
    assert keys(await search(client, text="red bicycle", k=4, diversity=0.6)) == keys(diverse)


async def test_the_filter_and_the_keys_of_the_query_count_before_diversity(
    client: httpx.AsyncClient, duplicates: HashEncoder
) -> None:
    diverse = await search(client, query=[{"key": 1}], k=6, diversity=0.8, filter={"tenant": 7})
    assert sorted(keys(diverse)) == [2, 6, 11, 12, 13]
    assert keys(diverse)[0] == 11
    assert set(keys(diverse)[1:3]) == {2, 6}


async def test_diversity_is_between_0_and_1(client: httpx.AsyncClient) -> None:
    for diversity, said in ((1.1, "`diversity` must be at most 1"), (-0.1, "`diversity` must be at least 0")):
        response = await client.post("/search", json={"table": "products", "text": "a", "diversity": diversity})
        assert_error(response, 422, "out_of_range", said, "diversity")
