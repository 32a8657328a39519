"""Runs the MCP server over stdio, for a client that starts it, or over streamable HTTP."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import SecretStr

from sidecar.errors import ConfigurationError
from sidecar.loopback import is_loopback_host
from sidecar.mcp.reports import Reports
from sidecar.mcp.service import Service
from sidecar.mcp.tools import make_mcp_server

_STOP_S = 5


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where streamable HTTP is served, at the path /mcp."""

    host: str
    port: int


class _Server(uvicorn.Server):
    """Ends after SIGINT or SIGTERM as if done; uvicorn's own would end the process by the signal."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, setattr, self, "should_exit", True)
        yield


def serve_stdio(url: str, database_url: SecretStr | None, key: str | None) -> None:
    """Serves the client that started this process, with `key`, until it closes stdin."""

    async def run() -> None:
        service = Service(url)
        try:
            reports = Reports(database_url) if database_url else None
            await make_mcp_server(service, reports, lambda _context: key, needs_admin=False).run_stdio_async()
        finally:
            await service.close()

    asyncio.run(run())


def serve_http(url: str, database_url: SecretStr | None, endpoint: Endpoint) -> None:
    """Serves until SIGINT or SIGTERM. Each caller's own key goes to the service; this process has none.

    Raises ConfigurationError where others than programs of this machine could call, and the service asks for no keys.
    """
    asyncio.run(_serve_http(url, database_url, endpoint))


async def _serve_http(url: str, database_url: SecretStr | None, endpoint: Endpoint) -> None:
    service = Service(url)
    try:
        if not is_loopback_host(endpoint.host):
            await _require_keys(service, endpoint)
        reports = Reports(database_url) if database_url else None
        server = make_mcp_server(service, reports, _key_of_caller, needs_admin=True)
        # Without sessions: any process behind a balancer answers any request, and each has its own key.
        application = server.streamable_http_app(
            stateless_http=True, json_response=True, transport_security=_security(endpoint.host)
        )
        config = uvicorn.Config(
            application,
            host=endpoint.host,
            port=endpoint.port,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=_STOP_S,
        )
        await _Server(config).serve()
    finally:
        await service.close()


async def _require_keys(service: Service, endpoint: Endpoint) -> None:
    try:
        has_keys = await service.asks_for_keys()
    except ToolError as error:
        raise ConfigurationError([f"--host {endpoint.host}: {error}"]) from error
    if not has_keys:
        message = "the service asks for no keys, so everyone who can reach this port could use it."
        hint = "HINT: Set API_KEYS or API_KEYS_FILE for `sidecar serve`, or leave out --host."
        raise ConfigurationError([f"--host {endpoint.host}: {message}\n{hint}"])


def _security(host: str) -> TransportSecuritySettings:
    """On this machine alone, web pages of other sites are refused: there a request may need no key."""
    local = ["127.0.0.1:*", "localhost:*", "[::1]:*", f"{host}:*"]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=is_loopback_host(host),
        allowed_hosts=local,
        allowed_origins=[f"http://{each}" for each in local],
    )


def _key_of_caller(context: Context[Any, Any]) -> str | None:
    scheme, _, key = (context.headers or {}).get("authorization", "").strip().partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None
