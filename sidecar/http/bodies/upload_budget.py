"""A bound on the memory that the bodies of all requests take together (MAX_UPLOADS_BYTES)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidecar.errors import Overloaded
from sidecar.http.headers import declared_bytes
from sidecar.http.limits import RequestLimits
from sidecar.telemetry.telemetry import Telemetry

_RETRY_S = 1.0
_LANE = "uploads"
# uvicorn buffers this much of every connection anyway. Most requests are smaller, and are never rejected here.
_SMALL_BYTES = 64 * 1024


class UploadBudget:
    """Counts the bytes that bodies in memory take."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.reserved_bytes = 0

    def reserve(self, added_bytes: int) -> None:
        """Raises Overloaded if the budget is exceeded."""
        self.require(added_bytes)
        self.reserved_bytes += added_bytes

    def require(self, added_bytes: int) -> None:
        """Raises Overloaded if `added_bytes` would exceed the budget. Reserves nothing."""
        if self.reserved_bytes + added_bytes > self.max_bytes:
            message = (
                f"The bodies of current requests use all of the {self.max_bytes} bytes that are available for them "
                "(MAX_UPLOADS_BYTES). Try again in a moment."
            )
            raise Overloaded(message, _RETRY_S)

    def release(self, reserved_bytes: int) -> None:
        self.reserved_bytes -= reserved_bytes


class LimitUploads:
    """Reserves memory for bodies chunk by chunk as they are read, and releases it when the answer begins.

    Content-Length reserves nothing, but a body that declares more than is free is rejected before it is read. Bodies
    of at most 64 KiB, and those that no endpoint reads, are not counted.
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
        reservation = _Reservation(self._budget, min(declared_bytes(scope), self._max_body_bytes))

        async def receive_within_budget() -> Message:
            try:
                reservation.check_declared()
                message = await receive()
                reservation.add(len(message.get("body", b"")))
            except Overloaded:
                self._telemetry.request_refused(_LANE)
                raise
            return message

        async def send_and_release(message: Message) -> None:
            reservation.release()
            await send(message)

        try:
            await self._app(scope, receive_within_budget, send_and_release)
        finally:
            reservation.release()


class _Reservation:
    """One request's share of the budget."""

    def __init__(self, budget: UploadBudget, declared_bytes: int) -> None:
        self._budget = budget
        self._declared_bytes = declared_bytes
        self._arrived_bytes = 0
        self._reserved_bytes = 0
        self._released = False

    def check_declared(self) -> None:
        """Call before any of the body is read. Raises Overloaded."""
        if self._declared_bytes > _SMALL_BYTES and not self._arrived_bytes and not self._released:
            self._budget.require(self._declared_bytes)

    def add(self, arrived_bytes: int) -> None:
        """Reserves a chunk that has arrived. Raises Overloaded."""
        self._arrived_bytes += arrived_bytes
        if self._arrived_bytes > _SMALL_BYTES and not self._released:
            self._budget.reserve(self._arrived_bytes - self._reserved_bytes)
            self._reserved_bytes = self._arrived_bytes

    def release(self) -> None:
        self._released = True
        self._budget.release(self._reserved_bytes)
        self._reserved_bytes = 0
