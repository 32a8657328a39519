"""Keeps the bodies of all requests within what the process may hold at a time."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidecar.errors import Overloaded
from sidecar.http.headers import declared_bytes
from sidecar.http.limits import RequestLimits
from sidecar.telemetry.telemetry import Telemetry

_RETRY_S = 1.0
_LANE = "uploads"
# Servers hold so much of every connection by themselves; most requests are smaller, and none of them is ever refused.
_SMALL_BYTES = 64 * 1024


class UploadBudget:
    """Bytes that bodies may take, together."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.reserved_bytes = 0

    def reserve(self, added_bytes: int) -> None:
        """Raises Overloaded if that is more than there is."""
        self.require(added_bytes)
        self.reserved_bytes += added_bytes

    def require(self, added_bytes: int) -> None:
        """Reserves nothing. Raises Overloaded if that is more than there is."""
        if self.reserved_bytes + added_bytes > self.max_bytes:
            message = (
                f"The bodies of the requests in hand take all of the {self.max_bytes} bytes there are for them "
                "(MAX_UPLOADS_BYTES). Try again in a moment."
            )
            raise Overloaded(message, _RETRY_S)

    def release(self, reserved_bytes: int) -> None:
        self.reserved_bytes -= reserved_bytes


class LimitUploads:
    """Reserves room for a body as it arrives, chunk by chunk: what is only declared takes none.

    It is free again when the answer begins. Bodies that nobody reads take none, nor do those of at most 64 KiB. What
    is declared and has no room now is refused before it is read.
    """

    def __init__(self, app: ASGIApp, limits: RequestLimits, telemetry: Telemetry) -> None:
        self._app = app
        self._budget = UploadBudget(limits.max_uploads_bytes)
        self._max_body_bytes = limits.max_body_bytes
        self._telemetry = telemetry
        telemetry.metrics.http.track_uploads(lambda: self._budget.reserved_bytes, self._budget.max_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(self._budget, min(declared_bytes(scope), self._max_body_bytes))

        async def receive_within_budget() -> Message:
            try:
                body.check_declared()
                message = await receive()
                body.add(len(message.get("body", b"")))
            except Overloaded:
                self._telemetry.request_refused(_LANE)
                raise
            return message

        async def send_and_release(message: Message) -> None:
            body.release()
            await send(message)

        try:
            await self._app(scope, receive_within_budget, send_and_release)
        finally:
            body.release()


class _Body:
    """One request's part of the room."""

    def __init__(self, budget: UploadBudget, declared_bytes: int) -> None:
        self._budget = budget
        self._declared_bytes = declared_bytes
        self._arrived_bytes = 0
        self._reserved_bytes = 0
        self._released = False

    def check_declared(self) -> None:
        """Before any of it arrives. Raises Overloaded."""
        if self._declared_bytes > _SMALL_BYTES and not self._arrived_bytes and not self._released:
            self._budget.require(self._declared_bytes)

    def add(self, arrived_bytes: int) -> None:
        """Raises Overloaded."""
        self._arrived_bytes += arrived_bytes
        if self._arrived_bytes > _SMALL_BYTES and not self._released:
            self._budget.reserve(self._arrived_bytes - self._reserved_bytes)
            self._reserved_bytes = self._arrived_bytes

    def release(self) -> None:
        self._released = True
        self._budget.release(self._reserved_bytes)
        self._reserved_bytes = 0
