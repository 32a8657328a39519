"""The demo's REST service: its URL, and how far it has started."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

from sidecar.config import Settings
from sidecar.listening import bind_hosts

REQUEST_TIMEOUT_S = 2.0
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened on


def url_of_service(settings: Settings) -> str:
    """The URL by which programs on this machine reach the service."""
    first = bind_hosts(settings.bind_host)[0]
    host = _ANY_ADDRESS.get(first, first)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.bind_port}"


class RunningService:
    """Probes the service, which need not answer yet."""

    def __init__(self, url: str) -> None:
        self.url = url

    def is_ready(self) -> bool:
        """True once it embeds queries."""
        return self._get("/readyz") is not None

    def fingerprint(self) -> str | None:
        """The vector space of its model; None if it does not answer, or has loaded no model yet."""
        answer = self._get("/healthz")
        model = None if answer is None else json.loads(answer)["model"]
        return None if model is None else str(model["fingerprint"])

    def _get(self, path: str) -> bytes | None:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=REQUEST_TIMEOUT_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.read() if response.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
