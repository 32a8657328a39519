"""Asserts on error responses."""

from __future__ import annotations

import httpx


def assert_error(response: httpx.Response, status: int, code: str, message: str, param: str | None = None) -> None:
    """Checks the whole response; `message` is the beginning of its message."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    expected = {"code": code, "message": body["error"]["message"], "type": _type_of(status), "param": param}
    assert body["error"] == expected
    assert body["error"]["message"].startswith(message)
    assert "Traceback" not in response.text
    assert ".py" not in response.text


def _type_of(status: int) -> str:
    special = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    if status in special:
        return special[status]
    return "server_error" if status >= 500 else "invalid_request_error"
