"""Error responses."""

from __future__ import annotations

import json

from sidecar.http.errors import error_response


def test_an_error_quotes_only_the_beginning_of_long_input() -> None:
    response = error_response(422, "unknown_field", "`" + "a" * 1_000_000 + "` is read by nobody.", "a" * 1_000_000)
    error = json.loads(bytes(response.body))["error"]
    assert len(response.body) < 3000
    assert error["message"].startswith("`aaa")
    assert error["message"].endswith("…")
    assert len(error["param"]) == 201
