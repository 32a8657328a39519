"""The REST service behind the tools. It applies the scopes, tables, filter and limits of each call's key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
from mcp.server.mcpserver.exceptions import ToolError

from sidecar.mcp.exact_json import read_json

_TIMEOUT_S = 90.0
_HIGHEST_PORT = 65535
_ADVICE = {
    "missing_key": "The user has to set a key: SIDECAR_API_KEY, or over HTTP the Authorization header.",
    "invalid_key": "The user has to set a key that the service knows.",
    "forbidden_scope": "Use a tool that the key permits, or ask the operator for a key with that scope.",
    "forbidden_table": "Ask the user which table to search; the key opens only some.",
    "unknown_watch": "The tool `status` lists the tables that can be searched, if the key permits it.",
    "quota_used_up": "Tell the user; do not try again today.",
}


class Service:
    """A client of the service at `url`. Raises ToolError, in words that a model can act on."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client = httpx2.AsyncClient(timeout=_TIMEOUT_S)

    async def close(self) -> None:
        await self._client.aclose()

    async def get(self, path: str, key: str | None) -> dict[str, Any]:
        return await self._request("GET", path, key, None)

    async def post(self, path: str, key: str | None, body: Mapping[str, object]) -> dict[str, Any]:
        return await self._request("POST", path, key, body)

    async def asks_for_keys(self) -> bool:
        """Whether a request without a key is refused. Raises ToolError if the service does not answer."""
        return (await self._send("GET", "/v1/models", None, None)).status_code == 401

    async def _request(
        self, method: str, path: str, key: str | None, body: Mapping[str, object] | None
    ) -> dict[str, Any]:
        response = await self._send(method, path, key, body)
        try:
            answer: dict[str, Any] = read_json(response.text)
            if response.status_code == 200:
                return answer
            code, message = answer["error"]["code"], answer["error"]["message"]
        except (ValueError, LookupError, TypeError) as error:
            raise ToolError(f"What answers at {self._url} is not a sidecar (status {response.status_code}).") from error
        raise ToolError(_explain(code, message, response.headers.get("retry-after")))

    async def _send(
        self, method: str, path: str, key: str | None, body: Mapping[str, object] | None
    ) -> httpx2.Response:
        try:
            return await self._client.send(self._request_of(method, path, key, body))
        except httpx2.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ToolError(
                f"The service does not answer at {self._url}: {reason}. Is `sidecar serve` running?"
            ) from error

    def _request_of(self, method: str, path: str, key: str | None, body: Mapping[str, object] | None) -> httpx2.Request:
        if key is not None and not key.isascii():
            raise ToolError(f"The key has characters that no key has. {_ADVICE['invalid_key']}")
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        wrong_address = f"The user has to correct SIDECAR_URL, which is {self._url!r}"
        try:
            request = self._client.build_request(method, self._url + path, headers=headers, json=body)
        except httpx2.InvalidURL as error:
            raise ToolError(f"{wrong_address}: {error}.") from error
        except ValueError as error:
            raise ToolError("NaN and Infinity are no numbers in JSON. Send them as strings.") from error
        if (request.url.port or 0) > _HIGHEST_PORT:
            raise ToolError(f"{wrong_address}: there is no port {request.url.port}.")
        return request


def _explain(code: str, message: str, retry_after: str | None) -> str:
    advice = _ADVICE.get(code, "")
    if not advice and retry_after is not None:
        advice = f"Try again in {retry_after} s."
    return f"{message} {advice}".rstrip() + f" [{code}]"
