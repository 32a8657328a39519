"""`sidecar serve`: our own uvicorn server, so that a failure ends it in order and with its exit code."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop
from starlette.applications import Starlette

from sidecar.app import LoadEncoder, Sidecar, load_siglip
from sidecar.config import Settings
from sidecar.errors import ConfigurationError
from sidecar.http.bounded_protocol import BoundedHttpProtocol
from sidecar.loopback import WAYS_OUT, resolves_to_loopback
from sidecar.telemetry.logs import configure_logging

logger = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Leaves signals to `serve`: uvicorn raises them again at its end, and a stop in order would not exit with 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: Settings, *, load_encoder: LoadEncoder = load_siglip) -> int:
    """Serve until SIGINT, SIGTERM or a failure; returns the exit code. Blocks, and takes over the process's logging.

    0: stopped in order, within SHUTDOWN_TIMEOUT_S. 1: the model cannot be loaded, or a task died. 2: a setting does not
    go with this machine or model. A port that is taken raises SystemExit; keys that cannot be read, or a BIND_HOST that
    needs some and has none, raise ConfigurationError.
    """
    _require_keys_beyond_loopback(settings)
    configure_logging(settings)
    if settings.allow_anonymous:
        where = f"{settings.bind_host}:{settings.bind_port}"
        logger.warning("ALLOW_ANONYMOUS=1: everybody who reaches %s is served, without a key.", where)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, load_encoder))


async def _serve(settings: Settings, load_encoder: LoadEncoder) -> int:
    def stop() -> None:
        server.force_exit = server.should_exit  # the second signal waits for nothing
        server.should_exit = True
        sidecar.request_stop()

    def fail() -> None:
        server.should_exit = True

    sidecar = Sidecar(settings, load_encoder, on_failure=fail)
    server = _Server(server_config(settings, sidecar.make_app()))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    await server.serve()
    return sidecar.supervisor.exit_code


def _require_keys_beyond_loopback(settings: Settings) -> None:
    """Requests that get here nevertheless, because a name changed its address, are refused by sidecar.http.access."""
    if settings.api_keys or settings.api_keys_file or settings.allow_anonymous:
        return
    if not resolves_to_loopback(settings.bind_host):
        problem = f"BIND_HOST='{settings.bind_host}': without keys only loopback is served. {WAYS_OUT}"
        raise ConfigurationError([problem])


def server_config(settings: Settings, app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.bind_host,
        port=settings.bind_port,
        lifespan="on",
        log_config=None,
        http=BoundedHttpProtocol,
        ws="none",
        access_log=False,  # sidecar.http.access_log has its own
        server_header=False,
        proxy_headers=False,  # whoever connects from this machine could have the log name whom he likes
        timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type] # the loop takes parts of a second too
        reset_contextvars=True,  # a connection's second request would begin with the first one's ids
        # Requests in hand get half of the time; what is behind them, the rest.
        timeout_graceful_shutdown=int(settings.shutdown_timeout_s // 2),
    )
