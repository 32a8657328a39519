"""JSON bodies of few bytes and very many values, at an endpoint."""

from __future__ import annotations

import pytest

from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error


@pytest.mark.parametrize(
    ("ignored", "message"),
    [
        (b"0," * 20_001, "The body has more than 20,000 values"),
        (b"[]," * 200_001, "The body has more than 200,000 `[`"),
    ],
    ids=["values", "brackets"],
)
async def test_too_many_values_are_rejected_even_in_unknown_fields(
    serving: Serving, ignored: bytes, message: str
) -> None:
    async with serving() as client:
        headers = {"content-type": "application/json"}
        body = b'{"text": "a", "x": [' + ignored + b"0]}"
        answer = await client.post("/embed/text", content=body, headers=headers)
        assert_error(answer, 422, "too_many_values", message)
        assert (await client.post("/embed/text", json={"text": "a", "x": [0] * 1000})).status_code == 200
