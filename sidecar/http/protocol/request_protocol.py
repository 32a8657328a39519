"""How the bytes of a connection become requests: decisions that RFC 9112 leaves to a server.

offer to upgrade      declined, by reading the request as if the offer were absent (RFC 9110, 7.8)
not a request         answered with our error body, after the requests before it; then the connection closes
broken body           fails its request with the reason; then the connection closes
pipelined requests    parsed one after another as they are answered: a read may hold 14,000, which take 0.8 s and 30 MB
half-closed client    gets its answers. A vanished client looks the same until an interim answer is sent to it
"""

from __future__ import annotations

import asyncio
import socket

import httptools
from starlette.types import Message, Receive, Scope, Send
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from sidecar.errors import InputError
from sidecar.http.protocol.heads import Head
from sidecar.http.protocol.refusals import refused_scope, to_input_error

PROBE_INTERVAL_S = 0.5
ROUND_TRIP_S = 0.05
LINGER_S = 2.0

_PIECE_BYTES = 2048  # a hundred requests of the shortest kind
_MAX_UNPARSED_BYTES = 64 * 1024

_INTERIM_ANSWER = b"HTTP/1.1 102 Processing\r\n\r\n"


class RequestProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with the decisions above. `cycle` is the newest request, `_running` the one being served."""

    _in_head = False
    _in_body = False
    _declined_head: bytes | None = None
    _ignores_input = False  # of whatever the client still sends
    _at_eof = False
    _fault: tuple[RequestResponseCycle, InputError] | None = None
    _running: RequestResponseCycle | None = None
    _timer: asyncio.TimerHandle | None = None  # of probes, then of the lingering close
    _unparsed = b""  # until the requests before it are answered

    @property
    def is_answering(self) -> bool:
        """Whether a request is being answered."""
        return self._running is not None and not self._running.response_complete

    @property
    def has_backlog(self) -> bool:
        """Whether so much input is unparsed that no more is read."""
        return len(self._unparsed) >= _MAX_UNPARSED_BYTES

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self.flow = _Flow(transport, self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._unparsed = b""
        if self._running is not None and not self._running.response_complete:  # uvicorn notifies the newest only
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._ignores_input:
            return
        self._unparsed += data
        self._parse()
        if self.has_backlog:
            self.flow.pause_reading()

    def _parse(self) -> None:
        """Parses up to the first request that has to wait for another one's answer."""
        data, position = self._unparsed, 0
        while position < len(data) and not (self.pipeline or self._ignores_input or self.transport.is_closing()):
            self.parse_piece(data[position : position + _PIECE_BYTES])
            position += _PIECE_BYTES
        self._unparsed = b"" if self._ignores_input else data[position:]

    def parse_piece(self, data: bytes) -> None:
        """Feeds the parser with at most _PIECE_BYTES of input."""
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = self._decline(data[offer.args[0] :])
                continue
            except httptools.HttpParserError as error:
                self.refuse(to_input_error(error))
            return

    def eof_received(self) -> bool:  # type: ignore[override] # True keeps the sending side open
        """The client sends no more. A request that it has not sent whole is not answered."""
        self._at_eof = True
        return bool(self._unparsed) or self._end_input()

    def _end_input(self) -> bool:
        """Ends the input once all of it is parsed. True if there is anything left to answer."""
        self._ignores_input = True
        if self._in_body and self.cycle is not self._running:
            self.pipeline.popleft()
            self._in_body = False
        if self._in_body or self._running is None or self._running.response_complete:
            return False
        self.cycle = self.pipeline[0][0] if self.pipeline else self._running
        self.cycle.keep_alive = False
        self._timer = self.loop.call_later(PROBE_INTERVAL_S, self._probe)
        return True

    # Parser callbacks
    def on_message_begin(self) -> None:
        self._unset_keepalive_if_required()  # not earlier: the rest of an answered body may drip in
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise InputError("method_not_allowed", "The service is not a proxy: it does not support CONNECT.")
            self._declined_head = self._head().without_upgrade()
            return
        head = self._head()
        head.check()
        head = head.with_path_target()
        self.url, self.headers[:] = head.target, head.headers
        if head.version == "1.0":
            self.expect_100_continue = False  # RFC 9110, 10.1.1
        super().on_headers_complete()
        self._in_head, self._in_body = False, True

    def on_message_complete(self) -> None:
        if self._declined_head is None:
            self._in_body = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._unparsed and not self.transport.is_closing():
            self._parse()
            self.flow.resume_reading()
            at_end = self._at_eof and not (self._unparsed or self._ignores_input)
            if at_end and not self._end_input():
                self.transport.close()
        if self._at_eof and not self.is_answering:
            self.transport.close()

    def _decline(self, rest: bytes) -> bytes:
        """The input to parse in place of a head that offers an upgrade, and of the `rest` after it.

        The parser takes what follows such a head for another protocol: the body would be read as the next request.
        """
        assert self._declined_head is not None
        head, self._declined_head = self._declined_head, None
        self.parser = _new_parser(self)
        return head + rest

    def _head(self) -> Head:
        """The head that the parser has just read."""
        return Head(self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers)

    # Refusals
    def send_400_response(self, msg: str) -> None:
        self.refuse(InputError("malformed_request", msg))

    def refuse(self, error: InputError) -> None:
        """Stops reading. Fails the request whose body it happened in; elsewhere, answers with `error` by itself."""
        if self._ignores_input or self.transport.is_closing():
            return
        self._ignores_input = True
        if not self._in_body:
            self._answer_next(error)
        elif self.cycle.response_complete:
            self._close_lingering()
        else:
            self._in_body = False
            self._fault = (self.cycle, error)
            self.cycle.keep_alive = False
            self.cycle.message_event.set()

    def _answer_next(self, error: InputError) -> None:
        """Answers after the requests in flight: sent at once, it would be taken for the answer to one of them."""
        cycle = RequestResponseCycle(
            scope=self._refused_scope(error),  # type: ignore[arg-type]
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        cycle.more_body = False
        cycle.message_event.set()
        self.cycle = cycle
        if self.is_answering:
            self.pipeline.appendleft((cycle, self.app))
        else:
            self._start_asgi_task(cycle, self.app)

    def _refused_scope(self, error: InputError) -> Scope:
        connection = {
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "state": self.app_state.copy(),
        }
        return refused_scope(connection, self.headers if self._in_head else [], error)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Calls the application with one request. `cycle` is uvicorn's request with its response.

        uvicorn built its scope in on_headers_complete; that of a refused request is from `_answer_next`.
        """
        self._unset_keepalive_if_required()
        self._running = cycle
        cycle.transport = _LingeringTransport(self, cycle)  # type: ignore[assignment]

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            async def receive_checked() -> Message:
                self._check_body(cycle)
                message = await receive()
                self._check_body(cycle)  # it may have broken meanwhile
                return message

            try:
                await app(scope, receive_checked, send)  # type: ignore[arg-type]
            except asyncio.CancelledError:  # in mid-answer: the process is stopping, which is no error
                cycle.disconnected = True
                self.transport.abort()

        super()._start_asgi_task(cycle, guarded)  # type: ignore[arg-type]

    def _check_body(self, cycle: RequestResponseCycle) -> None:
        """Raises the InputError that broke the body of `cycle`, if one did."""
        if self._fault is not None and self._fault[0] is cycle:
            raise self._fault[1]

    # Closing
    def close_after(self, cycle: RequestResponseCycle) -> None:
        """Closes the connection after `cycle`, the last request answered on it."""
        if self._ignores_input or self.has_backlog or (self._in_body and cycle is self.cycle):
            self._close_lingering()
        else:
            self.transport.close()

    def _close_lingering(self) -> None:
        """Lingers: a connection that is closed on a client that still sends is reset, and its answer perhaps lost."""
        self._ignores_input = True
        self._unparsed = b""
        self.pipeline.clear()
        if self._at_eof or self.transport.is_closing():
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self._stop_timer()
        self._timer = self.loop.call_later(LINGER_S, self.disconnect)

    def disconnect(self) -> None:
        """Closes the connection, unless it is closing already."""
        if not self.transport.is_closing():
            self.transport.close()

    def _probe(self) -> None:
        """Checks that a half-closed client still waits, with an interim answer, which clients of HTTP/1.1 skip.

        The machine of a client that has vanished responds with a reset, which shows a round trip later.
        """
        running = self._running
        assert running is not None
        if not running.response_started and running.scope["http_version"] != "1.0":
            self.transport.write(_INTERIM_ANSWER)
        self._timer = self.loop.call_later(ROUND_TRIP_S, self._check_for_reset)

    def _check_for_reset(self) -> None:
        connection: socket.socket = self.transport.get_extra_info("socket")
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        else:  # or the client is farther away: the next write shows it
            self._timer = self.loop.call_later(PROBE_INTERVAL_S, self._probe)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Flow(FlowControl):
    """Keeps reading paused while there is a backlog. uvicorn would resume it after every answer."""

    def __init__(self, transport: asyncio.Transport, protocol: RequestProtocol) -> None:
        super().__init__(transport)
        self._protocol = protocol

    def resume_reading(self) -> None:
        if not self._protocol.has_backlog:
            super().resume_reading()


class _LingeringTransport:
    """The transport of one answer. Closing it lets the client read the answer first."""

    def __init__(self, protocol: RequestProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing

    def close(self) -> None:
        self._protocol.close_after(self._cycle)


def _new_parser(protocol: RequestProtocol) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
    return parser
