"""`sidecar serve`: runs uvicorn so that signals and failures shut down in order, with an exit code."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import uvicorn
import uvloop
from starlette.applications import Starlette

from sidecar.announcement import address_fact
from sidecar.app import LoadEncoder, Sidecar, load_embedding_model
from sidecar.config import Settings, misspelt_variables
from sidecar.error_lines import log_error, write_error
from sidecar.errors import ConfigurationError, SidecarError
from sidecar.http.protocol.bounded_protocol import BoundedHttpProtocol
from sidecar.listening import CannotListen, bind_hosts, format_address, open_listeners
from sidecar.loopback import REMEDIES, resolves_to_loopback
from sidecar.process_exit import EXIT_FAILURE, ExitDeadline
from sidecar.telemetry.logs.configuration import configure_logging

logger = logging.getLogger(__name__)

_TICK_S = 0.1
_REQUESTS_SHARE = 0.5  # of SHUTDOWN_TIMEOUT_S, for the requests in flight; what is behind them gets the rest
_ANSWERS_SHARE = 0.1  # of SHUTDOWN_TIMEOUT_S, for the answers to those that are cut off


class _Server(uvicorn.Server):
    """A uvicorn server that shuts down within SHUTDOWN_TIMEOUT_S; uvicorn's own timeout counts whole seconds.

    `serve` handles signals: uvicorn would raise them again after its shutdown, and the process would not exit with 0.
    """

    def __init__(self, config: uvicorn.Config, shutdown_timeout_s: float) -> None:
        super().__init__(config)
        self._timeout_s = shutdown_timeout_s
        self._stop_by = 0.0  # on the loop's clock
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Starts the shutdown. A second call ends it without further waiting."""
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
        """Waits until all requests are answered and closed, or only `reserved_share` of the time is left."""
        loop = asyncio.get_running_loop()
        until_s = self._stop_by - reserved_share * self._timeout_s
        state = self.server_state
        while (state.tasks or state.connections) and not self.force_exit and (left_s := until_s - loop.time()) > 0:
            step_s = min(left_s, _TICK_S / 10)
            await asyncio.wait(state.tasks, timeout=step_s) if state.tasks else await asyncio.sleep(step_s)


def serve(
    settings: Settings, *, load_encoder: LoadEncoder = load_embedding_model, clean_up: Callable[[], None] | None = None
) -> int:
    """Serves until SIGINT, SIGTERM, SIGHUP or a failure, and returns the exit code. Blocks. Configures logging.

    0: stopped in order, within SHUTDOWN_TIMEOUT_S. 1: the model cannot be loaded, a task died, or a socket cannot
    listen. 2: a setting does not suit this machine or model. Raises ConfigurationError for unreadable keys, and for a
    BIND_HOST beyond loopback without keys.

    Once stopping, the process exits within SHUTDOWN_TIMEOUT_S even if this function hangs, or leaves threads that the
    interpreter waits for. With `clean_up`, that deadline covers this call only, and calls it before the exit.
    """
    require_keys_beyond_loopback(settings)
    configure_logging(settings)
    for sentence in misspelt_variables():
        logger.warning("%s", sentence)
    for number in _signals():  # until there is something to shut down
        signal.signal(number, _exit_at_once)
    try:
        listeners = open_listeners(settings.bind_host, settings.bind_port)
    except CannotListen as error:
        _report(settings, SidecarError(f"{error}\nHINT: BIND_HOST and BIND_PORT say where."))
        return EXIT_FAILURE
    if settings.allow_anonymous:
        where = " and ".join(format_address(listener) for listener in listeners)
        logger.warning("ALLOW_ANONYMOUS=1: anyone who can reach %s is served, without a key.", where)
    process = _Process(settings, load_encoder, clean_up or _do_nothing)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            exit_code = runner.run(process.run(listeners))
    finally:
        if clean_up is not None:
            process.deadline.cancel()
        for listener in listeners:
            listener.close()
    process.report_start_error()
    return exit_code


class _Process:
    """A sidecar and its server, which stop together on a signal or a failure."""

    def __init__(self, settings: Settings, load_encoder: LoadEncoder, clean_up: Callable[[], None]) -> None:
        self._start_error: SidecarError | None = None
        self._settings = settings
        self._addresses: list[str] = []
        self._is_ready = False
        self._sidecar = Sidecar(
            settings, load_encoder, on_failure=self._stop, report=self._take_error, on_ready=self._announce
        )
        self._server: _Server | None = None
        supervisor = self._sidecar.supervisor
        self.deadline = ExitDeadline(
            settings.shutdown_timeout_s, lambda: supervisor.exit_code, partial(self._cut_off, clean_up)
        )

    async def run(self, listeners: list[socket.socket]) -> int:
        self._addresses = [format_address(listener) for listener in listeners]
        config = server_config(self._settings, self._sidecar.make_app())
        self._server = _Server(config, self._settings.shutdown_timeout_s)
        loop = asyncio.get_running_loop()

        def stop_soon(*_signal: object) -> None:
            self.deadline.start()  # at once: the loop may be busy for longer than the deadline
            with suppress(RuntimeError):  # the loop is closed: all has ended already
                loop.call_soon_threadsafe(self._stop)

        for number in _signals():
            signal.signal(number, stop_soon)
        await self._server.serve(sockets=listeners)
        return self._sidecar.supervisor.exit_code

    def _take_error(self, error: SidecarError) -> None:
        """Keeps an error of the start for the last line; a later one is logged at once, since the end may take long."""
        if self._is_ready:
            log_error(error, logger)
        else:
            self._start_error = error

    def report_start_error(self) -> None:
        """Reports the error that ended the start, if there was one. A second call does nothing."""
        error, self._start_error = self._start_error, None
        if error is not None:
            _report(self._settings, error)

    def _cut_off(self, clean_up: Callable[[], None]) -> None:
        self.report_start_error()
        clean_up()

    def _announce(self) -> None:
        self._is_ready = True
        address_fact(self._addresses, self._settings.root_path).log()

    def _stop(self) -> None:
        self.deadline.start()
        if self._server is not None:
            self._server.stop()
        self._sidecar.request_stop()


def _report(settings: Settings, error: SidecarError) -> None:
    """Writes the error as `ERROR: …` and `HINT: …`, as every command does; in the log's JSON format as events."""
    if settings.log_format == "json":
        log_error(error, logger)
    else:
        write_error(error)


def _exit_at_once(*_signal: object) -> None:
    raise SystemExit(0)


def _signals() -> list[signal.Signals]:
    """The signals that stop the process. A closed terminal sends SIGHUP, which `nohup` ignores."""
    handles_hangup = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if handles_hangup else [])]


def require_keys_beyond_loopback(settings: Settings) -> None:
    """Raises ConfigurationError. If a name changes its address later, sidecar.http.access denies the requests."""
    if settings.api_keys or settings.api_keys_file or settings.allow_anonymous:
        return
    if not all(resolves_to_loopback(host) for host in bind_hosts(settings.bind_host)):
        problem = f"BIND_HOST='{settings.bind_host}': without keys only loopback is served. {REMEDIES}"
        raise ConfigurationError([problem])


def server_config(settings: Settings, app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        http=BoundedHttpProtocol,
        ws="none",
        access_log=False,  # sidecar.http.middleware.request_observation writes ours
        server_header=False,
        proxy_headers=False,  # otherwise any local client could spoof its address in the log
        timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type] # the event loop accepts fractions of a second
        reset_contextvars=True,  # otherwise a connection's second request would start with the first one's ids
    )


def _do_nothing() -> None:
    """The `clean_up` of a process that has nothing to clean up."""
