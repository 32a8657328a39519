"""Access control: by API key, or where there are no keys, to programs on this machine."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import Scope as RequestScope

from sidecar.api_keys.key import ApiKey, Scope
from sidecar.errors import SidecarError
from sidecar.http.headers import header_values
from sidecar.http.key_ring import KeyRing
from sidecar.http.key_usage import KeyUsage
from sidecar.loopback import REMEDIES, is_loopback_address, is_loopback_host

logger = logging.getLogger(__name__)

_SEND_KEY = "Send a key: `Authorization: Bearer KEY`."
_KEY = "sidecar.api_key"  # in the scope of a request
_LOG_INTERVAL_S = 10.0
_COMPLAINT_INTERVAL_S, _MAX_COMPLAINTS = 600.0, 1000
_USUAL_ADDRESS = "127.0.0.1"  # recognised without parsing, which costs more than all the other checks


class AccessDenied(SidecarError):
    """A request without a valid key (`status` 401), without permission (403), or beyond a key's limits (429).

    `challenge` is the answer's WWW-Authenticate header, `retry_after_s` its Retry-After. `complaint` is what the
    operator has to mend, for the log only.
    """

    complaint: str | None = None

    def __init__(
        self, status: int, code: str, message: str, challenge: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.challenge = challenge
        self.retry_after_s = retry_after_s


class Access:
    """Allows requests with a key of the ring, within its rate and quota.

    If the ring is empty: those from this machine, or all if `anonymous`. `count_refusal` is called with the reason and
    the name of the key, which is empty if it has none.
    """

    def __init__(
        self,
        keys: KeyRing,
        *,
        anonymous: bool = False,
        cors_origins: Collection[str] = (),
        count_refusal: Callable[[str, str], None] = lambda _reason, _key: None,
    ) -> None:
        self._keys = keys
        self._usage = KeyUsage()
        self._count_refusal = count_refusal
        self._anonymous = anonymous
        self._cors_origins = cors_origins
        self._denied = 0
        self._log_again_at = 0.0
        self._complain_again_at: dict[str, float] = {}

    def check(self, request: Request, scope: Scope) -> None:
        """Raises AccessDenied. Reads only the head of the request, and leaves the key for `key_of`."""
        try:
            if self._keys:
                key = request.scope[_KEY] = self._find_key(request)
                check_scope(key, scope)
                self._check_usage(key)
            elif not self._anonymous:
                check_local_request(request.scope, self._cors_origins)
        except AccessDenied as denied:
            self.record(request, denied)
            raise

    def record(self, request: Request, denied: AccessDenied) -> None:
        """Counts a denial, and logs it: at most one line in ten seconds, with the number of denials since the last.

        Never the key that was sent.
        """
        key = key_of(request)
        name = key.label if key else ""
        self._count_refusal(denied.code, name)
        self._complain(denied.complaint)
        self._denied += 1
        now = time.monotonic()
        if now < self._log_again_at:
            return
        self._log_again_at = now + _LOG_INTERVAL_S
        whose = f"{_client_address(request)}, key {name}" if name else _client_address(request)
        logger.warning("Access denied to %s: %s (%d denied since the last such line)", whose, denied.code, self._denied)
        self._denied = 0

    def _complain(self, complaint: str | None) -> None:
        """Logs what the operator has to mend, each complaint once in ten minutes."""
        now = time.monotonic()
        if complaint is None or now < self._complain_again_at.get(complaint, 0.0):
            return
        if len(self._complain_again_at) >= _MAX_COMPLAINTS:
            self._complain_again_at.clear()
        self._complain_again_at[complaint] = now + _COMPLAINT_INTERVAL_S
        logger.error("%s", complaint)

    def _find_key(self, request: Request) -> ApiKey:
        headers = header_values(request.scope, b"authorization")
        scheme, _, secret = headers[0].strip().partition(" ") if headers else ("", "", "")
        if scheme.lower() != "bearer" or not secret:
            raise AccessDenied(401, "missing_key", _SEND_KEY, "Bearer")
        key = self._keys.find(secret.strip())
        if key is None or len(headers) > 1:
            message = "The key in the Authorization header is not valid for this service."
            raise AccessDenied(401, "invalid_key", message, 'Bearer error="invalid_token"')
        return key

    def _check_usage(self, key: ApiKey) -> None:
        refusal = self._usage.take(key, time.monotonic(), time.time())
        if refusal is not None:
            raise AccessDenied(429, refusal.code, refusal.message, retry_after_s=refusal.retry_after_s)


def key_of(request: Request) -> ApiKey | None:
    """The key that `Access` found in a request; None for a service without keys."""
    key: ApiKey | None = request.scope.get(_KEY)
    return key


def key_name_of(scope: RequestScope) -> str:
    """The name of the key of a request; empty if it has none, or no name."""
    key: ApiKey | None = scope.get(_KEY)
    return key.label if key is not None else ""


def check_scope(key: ApiKey, scope: Scope) -> None:
    """Raises AccessDenied."""
    if scope not in key.scopes:
        message = f"The key lacks the scope `{scope.value}`, which this needs."
        challenge = f'Bearer error="insufficient_scope", scope="{scope.value}"'
        raise AccessDenied(403, "forbidden_scope", message, challenge)


def check_local_request(scope: RequestScope, cors_origins: Collection[str]) -> None:
    """Raises AccessDenied unless a program on this machine sent the request.

    It must have arrived on a loopback address, under a loopback name, and from no page of another site: Host reveals a
    page whose own name resolves to 127.0.0.1 (DNS rebinding), Origin one that posts here from elsewhere, Sec-Fetch-Site
    one that only reads, as for a picture: it cannot see the answer, but would have the work done.
    """
    address = _server_address(scope)
    if not (address == _USUAL_ADDRESS or is_loopback_address(address) or address.startswith("/")):
        message = f"The service has no keys, and without them it is not served at {address}. {REMEDIES}"
        raise AccessDenied(403, "no_keys", message)
    for host in header_values(scope, b"host"):
        if not is_loopback_host(host):
            message = f"The service has no keys, and without them it is served as localhost, not as {host}. {REMEDIES}"
            raise AccessDenied(403, "untrusted_host", message)
    for origin in header_values(scope, b"origin"):
        if not _is_allowed_origin(origin, cors_origins):
            message = f"The service has no keys, and without them pages of {origin} may not use it: CORS_ALLOW_ORIGINS."
            raise AccessDenied(403, "untrusted_origin", message)
    if _is_embedded_elsewhere(scope):
        message = "The service has no keys, and without them pages of other sites may not use it: CORS_ALLOW_ORIGINS."
        raise AccessDenied(403, "untrusted_origin", message)


def _is_embedded_elsewhere(scope: RequestScope) -> bool:
    """Whether a page of another site sent this, without saying which; false for a link that a user follows."""
    return (
        "cross-site" in header_values(scope, b"sec-fetch-site")
        and not header_values(scope, b"origin")
        and "document" not in header_values(scope, b"sec-fetch-dest")
    )


def _server_address(scope: RequestScope) -> str:
    """The address that the connection arrived at; the path of a Unix socket."""
    server = scope.get("server")
    return str(server[0]) if server else "an unknown address"


def _is_allowed_origin(origin: str, cors_origins: Collection[str]) -> bool:
    if "*" in cors_origins or origin in cors_origins:
        return True
    try:
        return is_loopback_host(urlsplit(origin).netloc)
    except ValueError:
        return False


def _client_address(request: Request) -> str:
    """The client's IP address. Anything else is not logged: a bare uvicorn takes it from a proxy's header."""
    host = request.client.host.partition("%")[0] if request.client else ""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return "an unknown address"
