"""The demo's own REST service, asked how far it is."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

REQUEST_TIMEOUT_S = 2.0


class RunningService:
    """`url` is where a program on this machine reaches it. It need not answer yet."""

    def __init__(self, url: str) -> None:
        self.url = url

    def is_ready(self) -> bool:
        """Whether it embeds queries."""
        return self._get("/readyz") is not None

    def fingerprint(self) -> str | None:
        """The vector space of its model; None if it does not answer, or has loaded none yet."""
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
