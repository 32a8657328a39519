"""The servers of the benchmarks, each in its own process: `python -m benchmarks.serving.servers OPTIONS_AS_JSON`.

`sidecar`: `sidecar serve` with the timed device or a real model. `naive`: the simplest endpoint, one forward pass per
request, with the same HTTP stack and device. `canned`: the same bytes for every request, straight from a protocol, to
measure the ceiling of the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import orjson
import uvicorn
import uvloop
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.serving.device import BatchTimedEncoder, DeviceRecord, InstantEncoder, RecordedEncoder
from sidecar.batching.encoder import Encoder
from sidecar.config import Settings
from sidecar.http.json_response import JsonResponse

_CANNED_BODY_BYTES = 14_400  # the length of the JSON of a vector with 1152 numbers


class TextBody(BaseModel):
    text: str


class Naive:
    """One forward pass per request, in a thread; a lock keeps the device to one of them at a time."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._device = threading.Lock()

    def make_app(self) -> Starlette:
        routes = [Route("/embed/text", self._embed, methods=["POST"]), Route("/readyz", _ready)]
        return Starlette(routes=routes)

    async def _embed(self, request: Request) -> Response:
        body = TextBody.model_validate(orjson.loads(await request.body()))
        return JsonResponse({"embedding": await asyncio.to_thread(self._forward, body.text)})

    def _forward(self, text: str) -> Any:
        prepared = self._encoder.prepare_texts([text])
        with self._device:
            return self._encoder.encode_texts(prepared)[0]


class Canned(asyncio.Protocol):
    """Answers every packet, since the client sends each request in one."""

    _answer = f"HTTP/1.1 200 OK\r\ncontent-length: {_CANNED_BODY_BYTES}\r\n\r\n".encode() + b"0" * _CANNED_BODY_BYTES

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, _data: bytes) -> None:
        self._transport.write(self._answer)


async def _ready(_request: Request) -> Response:
    return Response()


async def _serve_canned(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Canned, "127.0.0.1", port)
    await server.serve_forever()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _make_encoder(options: dict[str, Any], settings: Settings) -> Encoder:
    batch_ms = options["batch_ms"]
    if options["instant_dimensions"] is not None:
        return InstantEncoder(options["instant_dimensions"])
    encoder = _load_model(settings) if batch_ms is None else BatchTimedEncoder(batch_ms, options["view_ms"])
    return RecordedEncoder(encoder, DeviceRecord(Path(options["record"])))


def _make_encoders(options: dict[str, Any], settings: Settings) -> Sequence[Encoder]:
    """One for each device. The record is that of the first."""
    others = [BatchTimedEncoder(options["batch_ms"], options["view_ms"]) for _ in range(1, options["devices"])]
    return [_make_encoder(options, settings), *others]


def _load_model(settings: Settings) -> Encoder:
    from sidecar.app import load_embedding_model

    return load_embedding_model(settings)[0]


def main() -> int:
    options = orjson.loads(sys.argv[1])
    if options["cores"]:
        os.sched_setaffinity(0, options["cores"])
    settings = Settings(**options["settings"])
    if options["server"] == "sidecar":
        from sidecar.server import serve  # its imports take a second, and the other servers do not need them

        return serve(settings, load_encoder=lambda settings: _make_encoders(options, settings))
    if options["server"] == "naive":
        naive = Naive(_make_encoder(options, settings))
        uvloop.run(_Server(uvicorn.Config(naive.make_app(), port=settings.bind_port, log_config=None)).serve())
        return 0
    uvloop.run(_serve_canned(settings.bind_port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
