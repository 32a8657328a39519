"""How the bytes of a connection become requests: what RFC 9112 leaves to a server, decided in one place.

an offer to upgrade     declined by reading the request as if it were not there (RFC 9110, 7.8)
what is no request      answered with our body for errors, behind the requests before it; then the connection ends
a body that breaks      its request fails with the reason; then the connection ends
requests in a row       are parsed as their turn comes: a read may hold 14,000, which take 0.8 s and 30 MB
a half-closed client    gets its answers. One that is gone looks the same, until it is sent an interim answer
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httptools
from starlette.types import Message, Receive, Scope, Send
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from sidecar.errors import InputError

REFUSAL = "sidecar.refusal"  # of a scope: the InputError that it is to be answered with
PROBE_INTERVAL_S = 0.5
ROUND_TRIP_S = 0.05
LINGER_S = 2.0

_PIECE_BYTES = 2048  # a hundred requests of the shortest kind
_MAX_UNPARSED_BYTES = 64 * 1024

_VERSIONS = ("1.0", "1.1")
_INTERIM_ANSWER = b"HTTP/1.1 102 Processing\r\n\r\n"
_KEPT_HEADERS = {b"origin", b"x-request-id"}  # of a head that is refused: they shape the answer
_HINTS = {
    "Invalid method encountered": " The service speaks HTTP/1.1 without TLS: is this HTTPS, or another protocol?",
    "Pause on PRI/Upgrade": " HTTP/2 is not spoken here: use HTTP/1.1.",
}


class RequestProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with the decisions above. Its `cycle` is the newest request, `_running` the one in work."""

    _in_head = False
    _in_body = False
    _declined_head: bytes | None = None
    _deaf = False  # to what the client still sends
    _at_eof = False
    _fault: tuple[RequestResponseCycle, InputError] | None = None
    _running: RequestResponseCycle | None = None
    _timer: asyncio.TimerHandle | None = None  # of probes, and of what lingers
    _unparsed = b""  # waits for the requests before it

    @property
    def is_at_work(self) -> bool:
        """Whether a request is being answered."""
        return self._running is not None and not self._running.response_complete

    @property
    def has_backlog(self) -> bool:
        """Whether enough waits to read no more."""
        return len(self._unparsed) >= _MAX_UNPARSED_BYTES

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self.flow = _Flow(transport, self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._unparsed = b""
        if self._running is not None and not self._running.response_complete:  # uvicorn looks at the newest only
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._unparsed += data
        self._parse()
        if self.has_backlog:
            self.flow.pause_reading()

    def _parse(self) -> None:
        """As far as no request waits for another one's answer."""
        data, position = self._unparsed, 0
        while position < len(data) and not (self.pipeline or self._deaf or self.transport.is_closing()):
            self.parse_piece(data[position : position + _PIECE_BYTES])
            position += _PIECE_BYTES
        self._unparsed = b"" if self._deaf else data[position:]

    def parse_piece(self, data: bytes) -> None:
        """At most _PIECE_BYTES of what came."""
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = self._decline(data[offer.args[0] :])
                continue
            except httptools.HttpParserError as error:
                self.refuse(_explain(error))
            return

    def eof_received(self) -> bool:  # type: ignore[override] # True keeps the way back open
        """The client sends no more. What it has not sent whole is not answered."""
        self._at_eof = True
        return bool(self._unparsed) or self._end_input()

    def _end_input(self) -> bool:
        """All that came was parsed. Whether there is anything left to answer."""
        self._deaf = True
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
        self._unset_keepalive_if_required()  # by nothing less: the rest of a body that was answered may come in drops
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise InputError("method_not_allowed", "The service is no proxy: it does not answer CONNECT.")
            self._declined_head = self._head_without_upgrade()
            return
        self._check_head()
        if self.parser.get_http_version() == "1.0":
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
            at_end = self._at_eof and not (self._unparsed or self._deaf)
            if at_end and not self._end_input():
                self.transport.close()
        if self._at_eof and not self.is_at_work:
            self.transport.close()

    def _decline(self, rest: bytes) -> bytes:
        """What is parsed in place of a head that offers an upgrade, and of the `rest` behind it.

        The parser takes what follows such a head for another protocol: the body would be read as the next request.
        """
        assert self._declined_head is not None
        head, self._declined_head = self._declined_head, None
        self.parser = _new_parser(self)
        return head + rest

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _check_head(self) -> None:
        """Raises InputError for a head of another protocol, or with more meanings than one."""
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            raise InputError("http_version_not_supported", f"The service speaks HTTP/1.1, not HTTP/{version}.")
        if sum(name == b"host" for name, _ in self.headers) > 1:
            raise InputError("malformed_request", "The request has more than one Host header.")
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings and (codings != [b"chunked"] or version == "1.0"):
            message = "The one Transfer-Encoding is `chunked`, in HTTP/1.1. To compress, use Content-Encoding: gzip."
            raise InputError("unsupported_transfer_encoding", message)
        if not self.url.startswith(b"/"):
            self._take_target_apart()

    def _take_target_apart(self) -> None:
        """`GET http://host/path`: the target's host counts, whatever the header says (RFC 9112, 3.2.2)."""
        if self.url == b"*" and self.parser.get_method() == b"OPTIONS":
            self.url = b"/"
            return
        target = httptools.parse_url(self.url)
        if target.schema not in {b"http", b"https"} or not target.host:
            raise InputError("malformed_request", "The target of the request is neither a path nor a URL.")
        host = b"[%b]" % target.host if b":" in target.host else target.host
        authority = b"%b:%d" % (host, target.port) if target.port else host
        self.headers[:] = [(b"host", authority), *(header for header in self.headers if header[0] != b"host")]
        self.url = (target.path or b"/") + (b"?" + target.query if target.query else b"")

    # Refusals
    def send_400_response(self, msg: str) -> None:
        self.refuse(InputError("malformed_request", msg))

    def refuse(self, error: InputError) -> None:
        """Reads no more. The request in whose body it happened fails; elsewhere, `error` is an answer of its own."""
        if self._deaf or self.transport.is_closing():
            return
        self._deaf = True
        if not self._in_body:
            self._answer_next(error)
        elif self.cycle.response_complete:
            self._close_gently()
        else:
            self._in_body = False
            self._fault = (self.cycle, error)
            self.cycle.keep_alive = False
            self.cycle.message_event.set()

    def _answer_next(self, error: InputError) -> None:
        """Behind the requests in flight: sent at once, it would be taken for the answer to one of them."""
        cycle = RequestResponseCycle(
            scope=self._refused_scope(error),
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
        if self.is_at_work:
            self.pipeline.appendleft((cycle, self.app))
        else:
            self._start_asgi_task(cycle, self.app)

    def _refused_scope(self, error: InputError) -> Any:
        head = self.headers if self._in_head else []
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": "-",
            "root_path": self.root_path,
            "path": "-",
            "raw_path": b"-",
            "query_string": b"",
            "headers": [header for header in head if header[0] in _KEPT_HEADERS],
            "state": self.app_state.copy(),
            REFUSAL: error,
        }

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._unset_keepalive_if_required()
        self._running = cycle
        cycle.transport = _GentleTransport(self, cycle)  # type: ignore[assignment]

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            async def receive_whole() -> Message:
                self._check_body(cycle)
                message = await receive()
                self._check_body(cycle)  # it may have broken meanwhile
                return message

            try:
                await app(scope, receive_whole, send)  # type: ignore[arg-type]
            except asyncio.CancelledError:  # in the middle of an answer: the process ends, which is no error
                cycle.disconnected = True
                self.transport.abort()

        super()._start_asgi_task(cycle, guarded)  # type: ignore[arg-type]

    def _check_body(self, cycle: RequestResponseCycle) -> None:
        if self._fault is not None and self._fault[0] is cycle:
            raise self._fault[1]

    # The end
    def close_after(self, cycle: RequestResponseCycle) -> None:
        """`cycle` was answered as the last one."""
        if self._deaf or self.has_backlog or (self._in_body and cycle is self.cycle):
            self._close_gently()
        else:
            self.transport.close()

    def _close_gently(self) -> None:
        """Closed on a client that still sends, the connection would be reset, and the answer perhaps lost."""
        self._deaf = True
        self._unparsed = b""
        self.pipeline.clear()
        if self._at_eof or self.transport.is_closing():
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self._stop_timer()
        self._timer = self.loop.call_later(LINGER_S, self._give_up)

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _probe(self) -> None:
        """Whether the client waits or is gone: the machine of one that is gone resets the connection when it is sent
        something, which shows a round trip later. Clients of HTTP/1.1 skip interim answers."""
        running = self._running
        assert running is not None
        if not running.response_started and running.scope["http_version"] != "1.0":
            self.transport.write(_INTERIM_ANSWER)
        self._timer = self.loop.call_later(ROUND_TRIP_S, self._look_for_reset)

    def _look_for_reset(self) -> None:
        connection: socket.socket = self.transport.get_extra_info("socket")
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        else:  # or it is farther away: the next write shows it
            self._timer = self.loop.call_later(PROBE_INTERVAL_S, self._probe)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Flow(FlowControl):
    """uvicorn reads on after every answer, however many requests wait already."""

    def __init__(self, transport: asyncio.Transport, protocol: RequestProtocol) -> None:
        super().__init__(transport)
        self._protocol = protocol

    def resume_reading(self) -> None:
        if not self._protocol.has_backlog:
            super().resume_reading()


class _GentleTransport:
    """What an answer is written to; it is closed in a way that lets the client read it."""

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


def _explain(error: httptools.HttpParserError) -> InputError:
    if isinstance(error.__context__, InputError):
        return error.__context__
    reason = "its target is not a path" if error.__context__ else str(error)
    return InputError("malformed_request", f"What came is no request of HTTP/1.1: {reason}.{_HINTS.get(reason, '')}")
