"""Compressed request bodies, decompressed as they arrive, so that later bounds count decompressed bytes."""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidecar.errors import InputError
from sidecar.http.headers import ACCEPTED_ENCODINGS, header_values

_PIECE_BYTES = 256 * 1024
_SLICE_BYTES = 8 * 1024  # zlib copies what follows a member's end, once for each member in the slice
_GZIP_WBITS, _ZLIB_WBITS, _RAW_WBITS = 31, 15, -15
_ZLIB_METHOD = 8
_PADDING = re.compile(rb"\0*")


class DecodeBody:
    """Decompresses bodies with `Content-Encoding: gzip` or `deflate`. Others are rejected when the body is read.

    Neither the compressed nor the decompressed body is ever held whole. More than `max_body_bytes` of compressed bytes
    are rejected too: empty gzip members decompress to nothing, so that no later bound would ever end them.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (codings := _codings(scope)):
            receive = _DecompressedBody(receive, codings, self._max_body_bytes).receive
        await self._app(scope, receive, send)


def _codings(scope: Scope) -> list[str]:
    values = header_values(scope, b"content-encoding")
    named = [coding.strip().lower() for value in values for coding in value.split(",")]
    return [coding for coding in named if coding not in {"", "identity"}]


class _DecompressedBody:
    """One request's body, as an ASGI `receive`."""

    def __init__(self, receive: Receive, codings: list[str], max_body_bytes: int) -> None:
        self._receive = receive
        self._codings = codings
        self._max_body_bytes = max_body_bytes
        self._decoder: Decoder | None = None
        self._arrived_bytes = 0
        self._all_arrived = False
        self._done = False

    async def receive(self) -> Message:
        """Raises InputError: `unsupported_encoding`, `invalid_encoding`, `body_too_large`."""
        if self._done:
            return await self._receive()
        if self._decoder is None:
            self._decoder = make_decoder(self._codings)
        while not (piece := self._decoder.read()):
            if self._decoder.has_more:
                await asyncio.sleep(0)  # as below: 60 MB of empty members take a minute
                continue
            if self._all_arrived:
                self._decoder.check_complete()
                self._done = True
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._add(message)
        await asyncio.sleep(0)  # yield to other tasks: decompressing takes milliseconds per megabyte without any wait
        return {"type": "http.request", "body": piece, "more_body": True}

    def _add(self, message: Message) -> None:
        assert self._decoder is not None
        arrived = message.get("body", b"")
        self._arrived_bytes += len(arrived)
        if self._arrived_bytes > self._max_body_bytes:
            raise InputError("body_too_large", f"The compressed body has more than {self._max_body_bytes} bytes.")
        self._decoder.add(arrived)
        self._all_arrived = not message.get("more_body", False)


class _Inflater(Protocol):
    """The decompressor that zlib.decompressobj() makes, whose class has no public name."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def make_decoder(codings: list[str]) -> Decoder:
    """The decoder for the values of Content-Encoding. Raises InputError (`unsupported_encoding`)."""
    if codings in (["gzip"], ["x-gzip"]):
        return Decoder(gzip=True)
    if codings == ["deflate"]:
        return Decoder(gzip=False)
    named = ", ".join(codings)[:100]
    message = f"The body has Content-Encoding {named!r}. What is read: {ACCEPTED_ENCODINGS}, one at a time, or none."
    raise InputError("unsupported_encoding", message)


class Decoder:
    """Decompresses gzip of any number of members, or deflate with zlib's frame or (as some clients send it) without."""

    def __init__(self, *, gzip: bool) -> None:
        self._name = "gzip" if gzip else "deflate"
        self._gzip = gzip
        self._input = b""
        self._position = 0  # in the input, of the next byte to decompress
        self._inflater: _Inflater | None = None
        self._members = 0
        self._holds_output = False
        self._needs_input = False  # too few bytes to recognise the format

    def add(self, data: bytes) -> None:
        """Appends compressed input."""
        self._input = self._input[self._position :] + data
        self._position = 0
        self._needs_input = False

    @property
    def has_more(self) -> bool:
        """Whether `read` can continue without more input."""
        return self._holds_output or (self._position < len(self._input) and not self._needs_input)

    def read(self) -> bytes:
        """Decompresses the next 8 KiB: less than 512 KiB, perhaps nothing. Raises InputError."""
        pieces: list[bytes] = []
        output_bytes, until = 0, self._position + _SLICE_BYTES
        while output_bytes < _PIECE_BYTES and self._position < until and self.has_more:
            if self._inflater is None:
                self._inflater = self._next_inflater()
            if self._inflater is None:
                break
            pieces.append(self._inflate(self._inflater))
            output_bytes += len(pieces[-1])
        return b"".join(pieces)

    def check_complete(self) -> None:
        """Call at the end of the input. Raises InputError if it is truncated; an empty body is complete."""
        if self._inflater is not None or self._position < len(self._input):
            raise self._invalid("it is cut off")

    def _next_inflater(self) -> _Inflater | None:
        """The inflater for the member that begins here; None at the end of the input, or if it is too short to tell."""
        if self._gzip:
            if self._members and (padding := _PADDING.match(self._input, self._position)):  # which gzip skips too
                self._position = padding.end()
            return zlib.decompressobj(_GZIP_WBITS) if self._position < len(self._input) else None
        if self._members:
            raise self._invalid("there is more data after its end")
        if len(self._input) < 2:
            self._needs_input = True
            return None
        return zlib.decompressobj(_ZLIB_WBITS if _has_zlib_frame(self._input) else _RAW_WBITS)

    def _inflate(self, inflater: _Inflater) -> bytes:
        taken = self._input[self._position : self._position + _SLICE_BYTES]
        try:
            piece = inflater.decompress(taken, _PIECE_BYTES)
        except zlib.error as error:
            raise self._invalid(str(error).rpartition(": ")[2]) from error
        left = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        self._position += len(taken) - len(left)
        self._holds_output = len(piece) == _PIECE_BYTES and not inflater.eof
        if inflater.eof:
            self._inflater = None
            self._members += 1
        return piece

    def _invalid(self, reason: str) -> InputError:
        return InputError("invalid_encoding", f"The body is not {self._name}, as Content-Encoding says: {reason}.")


def _has_zlib_frame(start: bytes) -> bool:
    return start[0] & 0x0F == _ZLIB_METHOD and int.from_bytes(start[:2]) % 31 == 0
