"""Bounds on the time and memory of a connection, for clients without a key too.

uvicorn reads headers without limit and waits for them without limit, and keeps an answer until the client reads it.
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
    """Refuses heads of more than MAX_HEAD_BYTES, or that take more than HEAD_TIMEOUT_S to arrive.

    Before the first byte of any request, KEEP_ALIVE_S limits the wait; after its head, the request's own deadline. A
    client that does not read MIN_READ_BYTES of an answer, or the rest of it, in READER_INTERVAL_S is disconnected.
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
        if not self._head_is_whole:  # else it is a trailer, which uvicorn would add to the headers that were checked
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
        if self.transport.is_closing():  # which it does once the client has read everything
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
        if self.transport.is_closing():  # and has still something to send
            self._expect_reader()

    def _expect_request(self) -> None:
        """Starts the keep-alive timer at once: a balancer opens connections before it has requests for them."""
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _expect_head(self) -> None:
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._check_head_timeout)

    def _check_head_timeout(self) -> None:
        """Closes the connection, unless the rest of the head may be waiting, unparsed, for an earlier answer."""
        if self.is_answering:
            self._expect_head()
        else:
            self.disconnect()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def disconnect(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
            self._expect_reader()

    def _expect_reader(self) -> None:
        self._stop_reader_timer()
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(READER_INTERVAL_S, self._check_reader)

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _check_reader(self) -> None:
        """Compares with the buffer of the last check. Nothing was added: uvicorn waits for room, or has closed."""
        if self._unread_bytes - self.transport.get_write_buffer_size() < MIN_READ_BYTES:
            self.transport.abort()
        else:
            self._expect_reader()
