"""`sidecar serve`: our own uvicorn server, so that a failure ends it in order and with its exit code."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn
import uvloop
from starlette.applications import Starlette

from sidecar.app import LoadEncoder, Sidecar, load_siglip
from sidecar.config import Settings
from sidecar.errors import ConfigurationError
from sidecar.exit_deadline import ExitDeadline
from sidecar.http.protocol.bounded_protocol import BoundedHttpProtocol
from sidecar.listening import CannotListen, bind_hosts, describe, open_listeners
from sidecar.loopback import WAYS_OUT, resolves_to_loopback
from sidecar.supervisor import EXIT_FAILURE
from sidecar.telemetry.logs.configuration import configure_logging

logger = logging.getLogger(__name__)

_TICK_S = 0.1
_REQUESTS_SHARE = 0.5  # of SHUTDOWN_TIMEOUT_S, for the requests in flight; what is behind them gets the rest
_ANSWERS_SHARE = 0.1  # of SHUTDOWN_TIMEOUT_S, for the answers to those that are cut off


class _Server(uvicorn.Server):
    """Ends in its time, of which uvicorn's own waits in steps of 0.1 s and whole seconds know nothing.

    Signals are left to `serve`: uvicorn raises them again at its end, and a stop in order would not exit with 0.
    """

    def __init__(self, config: uvicorn.Config, shutdown_timeout_s: float) -> None:
        super().__init__(config)
        self._timeout_s = shutdown_timeout_s
        self._stop_by = 0.0  # on the loop's clock
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Repeated, waits for nothing more."""
        self.force_exit = self.should_exit
        if not self.should_exit:
            self.should_exit = True
            self._stop_by = asyncio.get_running_loop().time() + self._timeout_s
            self._stopping.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._wait_for_requests(1 - _REQUESTS_SHARE)
        if tasks := list(self.server_state.tasks):
            logger.warning("%d requests in flight are cut off.", len(tasks))
            for task in tasks:
                task.cancel("the process ends")
            await self._wait_for_requests(1 - _REQUESTS_SHARE - _ANSWERS_SHARE)
        if not self.force_exit:
            await self.lifespan.shutdown()

    async def _wait_for_requests(self, reserved_share: float) -> None:
        """Until all are answered and their connections closed, or only that share of the time is left."""
        loop = asyncio.get_running_loop()
        until_s = self._stop_by - reserved_share * self._timeout_s
        state = self.server_state
        while (state.tasks or state.connections) and not self.force_exit and (left_s := until_s - loop.time()) > 0:
            step_s = min(left_s, _TICK_S / 10)
            await asyncio.wait(state.tasks, timeout=step_s) if state.tasks else await asyncio.sleep(step_s)


def serve(
    settings: Settings, *, load_encoder: LoadEncoder = load_siglip, clean_up: Callable[[], None] | None = None
) -> int:
    """Serve until SIGINT, SIGTERM, SIGHUP or a failure; returns the exit code. Blocks, and takes over the process's
    logging.

    0: stopped in order, within SHUTDOWN_TIMEOUT_S. 1: the model cannot be loaded, a task died, or an address
    cannot be listened at. 2: a setting does not go with this machine or model. Keys that cannot be read, or a
    BIND_HOST that needs some and has none, raise ConfigurationError.

    The process ends within SHUTDOWN_TIMEOUT_S even if this never returns, or leaves threads that the interpreter waits
    for. With `clean_up` that holds for this call alone: it is called before the process is cut off.
    """
    _require_keys_beyond_loopback(settings)
    configure_logging(settings)
    for number in _signals():  # until there is something to be ended in order
        signal.signal(number, _end_at_once)
    try:
        listeners = open_listeners(settings.bind_host, settings.bind_port)
    except CannotListen as error:
        logger.critical("%s. BIND_HOST and BIND_PORT say where.", error)
        return EXIT_FAILURE
    where = " and ".join(describe(listener) for listener in listeners)
    logger.info("Serving on %s.", where)
    if settings.allow_anonymous:
        logger.warning("ALLOW_ANONYMOUS=1: everybody who reaches %s is served, without a key.", where)
    process = _Process(settings, load_encoder, clean_up or _nothing)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(process.run(listeners))
    finally:
        if clean_up is not None:
            process.deadline.call_off()
        for listener in listeners:
            listener.close()


class _Process:
    """A sidecar behind its server, and what ends both."""

    def __init__(self, settings: Settings, load_encoder: LoadEncoder, clean_up: Callable[[], None]) -> None:
        self._settings = settings
        self._sidecar = Sidecar(settings, load_encoder, on_failure=self._stop)
        self._server: _Server | None = None
        supervisor = self._sidecar.supervisor
        self.deadline = ExitDeadline(settings.shutdown_timeout_s, lambda: supervisor.exit_code, clean_up)

    async def run(self, listeners: list[socket.socket]) -> int:
        config = server_config(self._settings, self._sidecar.make_app())
        self._server = _Server(config, self._settings.shutdown_timeout_s)
        loop = asyncio.get_running_loop()

        def stop_soon(*_signal: object) -> None:
            self.deadline.start()  # now: the loop may be busy for longer than there is time
            loop.call_soon_threadsafe(self._stop)

        for number in _signals():
            signal.signal(number, stop_soon)
        await self._server.serve(sockets=listeners)
        return self._sidecar.supervisor.exit_code

    def _stop(self) -> None:
        self.deadline.start()
        if self._server is not None:
            self._server.stop()
        self._sidecar.request_stop()


def _end_at_once(*_signal: object) -> None:
    raise SystemExit(0)


def _signals() -> list[signal.Signals]:
    """Those that end the process; a terminal that goes away sends SIGHUP, which `nohup` has ignored."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangs_up else [])]


def _require_keys_beyond_loopback(settings: Settings) -> None:
    """Requests that get here nevertheless, because a name changed its address, are refused by sidecar.http.access."""
    if settings.api_keys or settings.api_keys_file or settings.allow_anonymous:
        return
    if not all(resolves_to_loopback(host) for host in bind_hosts(settings.bind_host)):
        problem = f"BIND_HOST='{settings.bind_host}': without keys only loopback is served. {WAYS_OUT}"
        raise ConfigurationError([problem])


def server_config(settings: Settings, app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        http=BoundedHttpProtocol,
        ws="none",
        access_log=False,  # sidecar.http.access_log has its own
        server_header=False,
        proxy_headers=False,  # whoever connects from this machine could have the log name whom he likes
        timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type] # the loop takes parts of a second too
        reset_contextvars=True,  # a connection's second request would begin with the first one's ids
    )


def _nothing() -> None:
    """There is nothing to clean up."""
