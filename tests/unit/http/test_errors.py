"""Error responses."""

from __future__ import annotations

import json

from sidecar.errors import StatementRejected
from sidecar.http.errors import error_response, error_response_to


def test_an_error_quotes_only_the_beginning_of_long_input() -> None:
    response = error_response(422, "unknown_field", "`" + "a" * 1_000_000 + "` is read by nobody.", "a" * 1_000_000)
    error = json.loads(bytes(response.body))["error"]
    assert len(response.body) < 3000
    assert error["message"].startswith("`aaa")
    assert error["message"].endswith("…")
    assert len(error["param"]) == 201


def test_what_postgres_refuses_is_told_with_its_hint() -> None:
    """It was once called an unavailable database, which operators then looked for."""
    refused = StatementRejected("permission denied for table notes", "42501", "grant select on notes to sidecar;")
    response = error_response_to(refused)
    error = json.loads(bytes(response.body))["error"]
    assert (response.status_code, error["code"]) == (503, "database_refused")
    assert error["message"].endswith("permission denied for table notes. grant select on notes to sidecar;")
    assert "retry-after" not in response.headers
