"""Answers what never became a request: no method, no path, only what is wrong with it."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from sidecar.http.errors import respond_to
from sidecar.http.protocol.request_protocol import REFUSAL


class AnswerRefusedHeads:
    """Stands behind all other middleware: what cannot be read is logged, counted and has its id like all else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = scope.get(REFUSAL)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await respond_to(refusal)(scope, receive, send)
