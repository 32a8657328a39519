"""Who may ask for what: a key in the request, or, without keys, a request from this machine."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import Response

from sidecar.api_keys import Scope
from sidecar.errors import SidecarError
from sidecar.http.headers import header_values
from sidecar.http.key_ring import KeyRing
from sidecar.http.loopback_only import find_outsider
from sidecar.http.operation import Endpoint

logger = logging.getLogger(__name__)

_SEND_IT = "Send a key: `Authorization: Bearer KEY`."
_LOG_INTERVAL_S = 10.0


class AccessDenied(SidecarError):
    """`status` is 401 for who is not known, 403 for who is not allowed; `challenge` says what would help."""

    def __init__(self, status: int, code: str, message: str, challenge: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.challenge = challenge


class Access:
    """With keys: who has one. Without: this machine alone, unless `anonymous`."""

    def __init__(self, keys: KeyRing, *, anonymous: bool = False, cors_origins: Collection[str] = ()) -> None:
        self._keys = keys
        self._anonymous = anonymous
        self._cors_origins = cors_origins
        self._denied = 0
        self._log_again_at = 0.0

    def check(self, request: Request, scope: Scope) -> None:
        """Raises AccessDenied. Looks at nothing but the head of the request."""
        try:
            if self._keys:
                self._check_key(request, scope)
            elif not self._anonymous:
                self._check_here(request)
        except AccessDenied as denied:
            self._log(request, denied)
            raise

    def _check_key(self, request: Request, scope: Scope) -> None:
        headers = header_values(request.scope, b"authorization")
        scheme, _, secret = headers[0].strip().partition(" ") if headers else ("", "", "")
        if scheme.lower() != "bearer" or not secret:
            raise AccessDenied(401, "missing_key", _SEND_IT, "Bearer")
        key = self._keys.find(secret.strip())
        if key is None or len(headers) > 1:
            message = "The key in the Authorization header is none of this service's."
            raise AccessDenied(401, "invalid_key", message, 'Bearer error="invalid_token"')
        if scope not in key.scopes:
            message = f"The key is not for this: it lacks the scope `{scope.value}`."
            challenge = f'Bearer error="insufficient_scope", scope="{scope.value}"'
            raise AccessDenied(403, "forbidden_scope", message, challenge)

    def _check_here(self, request: Request) -> None:
        if outsider := find_outsider(request.scope, self._cors_origins):
            raise AccessDenied(403, outsider.code, outsider.message)

    def _log(self, request: Request, denied: AccessDenied) -> None:
        """A line in ten seconds, however many try. What was sent as a key is not in it."""
        self._denied += 1
        now = time.monotonic()
        if now < self._log_again_at:
            return
        self._log_again_at = now + _LOG_INTERVAL_S
        who, code = _caller(request), denied.code
        logger.warning("Access denied to %s: %s (%d denied since the last such line)", who, code, self._denied)
        self._denied = 0


def _caller(request: Request) -> str:
    """An address and nothing else: under a bare uvicorn it is what the header of a proxy says."""
    host = request.client.host.partition("%")[0] if request.client else ""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return "an unknown address"


def with_access(endpoint: Endpoint, access: Access, scope: Scope) -> Endpoint:
    """Asks for the key before anything of the body is read."""

    async def answer_if_allowed(request: Request) -> Response:
        access.check(request, scope)
        return await endpoint(request)

    return answer_if_allowed
