"""A connection that cannot make the server wait, or remember, for ever before there is a request to answer.

uvicorn reads headers without end, and waits for them without end; both would cost nothing to who has no key.
"""

from __future__ import annotations

import asyncio
import logging

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sidecar.telemetry.logs import CONNECTION_LOGGER

MAX_HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 15.0


class BoundedHttpProtocol(HttpToolsProtocol):
    """Refuses more than MAX_HEAD_BYTES that are neither a whole head nor a body, and a head that takes too long.

    Once the head is there, the request's own deadline counts; between two requests, uvicorn's keep-alive.
    """

    _unfinished_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        self.logger = logging.getLogger(CONNECTION_LOGGER)
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unfinished_bytes += len(data)
        super().data_received(data)
        if self._unfinished_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"More than {MAX_HEAD_BYTES} bytes of headers.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._unfinished_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unfinished_bytes = 0
        super().on_message_complete()

    def _expect_head(self) -> None:
        self._stop_timer()
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
