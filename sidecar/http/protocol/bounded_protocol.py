"""A connection that cannot make the server wait, or remember, for ever: neither for a request nor with an answer.

uvicorn reads headers without end, and waits for them without end; both would cost nothing to who has no key. What it
has written it keeps until somebody reads it.
"""

from __future__ import annotations

import asyncio
import logging

from sidecar.errors import InputError
from sidecar.http.protocol.request_protocol import RequestProtocol
from sidecar.telemetry.logs.configuration import CONNECTION_LOGGER

MAX_HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 15.0
READER_INTERVAL_S = 30.0
MIN_READ_BYTES = 1024 * 1024


class BoundedHttpProtocol(RequestProtocol):
    """Refuses more than MAX_HEAD_BYTES that are neither a whole head nor a body, and a head that takes too long.

    Once the head is there, the request's own deadline counts; before its first byte, the first request's as well as
    the next one's, KEEP_ALIVE_TIMEOUT_S. A client that does not read MIN_READ_BYTES of an answer, or the rest of it, in
    READER_INTERVAL_S is cut off.
    """

    _unfinished_bytes = 0
    _head_is_whole = False
    _unread_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        self.logger = logging.getLogger(CONNECTION_LOGGER)
        super().connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_reader_timer()
        super().connection_lost(exc)

    def parse_piece(self, data: bytes) -> None:
        self._unfinished_bytes += len(data)
        super().parse_piece(data)
        if self._unfinished_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.refuse(InputError("head_too_large", f"The request has more than {MAX_HEAD_BYTES} bytes of headers."))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_is_whole = False
        self._expect_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_is_whole:  # or it is a trailer, which uvicorn puts among the headers that were checked
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        self._head_is_whole = True
        self._unfinished_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unfinished_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():  # once all is read
            self._expect_reader()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._expect_reader()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_reader_timer()
        if self.transport.is_closing():  # and a rest is still there
            self._expect_reader()

    def _expect_request(self) -> None:
        """A balancer opens connections before it has requests for them."""
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _expect_head(self) -> None:
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._look_at_head)

    def _look_at_head(self) -> None:
        """While a request before it is answered, the rest of the head may be here and not be parsed."""
        if self.is_at_work:
            self._expect_head()
        else:
            self._give_up()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
            self._expect_reader()

    def _expect_reader(self) -> None:
        self._stop_reader_timer()
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(READER_INTERVAL_S, self._look_at_reader)

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _look_at_reader(self) -> None:
        """Nothing is written meanwhile: uvicorn waits for the room, or has closed the connection."""
        if self._unread_bytes - self.transport.get_write_buffer_size() < MIN_READ_BYTES:
            self.transport.abort()
        else:
            self._expect_reader()
