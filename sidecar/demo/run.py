"""The run of a demo: starts Postgres, schema, example table and service in turn; all end with the process."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from rich.console import Console

from sidecar.config import Settings
from sidecar.demo.directory import DemoDirectory, write_private
from sidecar.demo.example import TABLE, create_example
from sidecar.demo.fresh import AskToDelete, Restart, start_over
from sidecar.demo.guide import Guide
from sidecar.demo.next_commands import print_next_commands
from sidecar.demo.postgres_port import start_postgres
from sidecar.demo.progress import Steps
from sidecar.demo.service import RunningService, url_of_service
from sidecar.demo.settings import demo_settings
from sidecar.demo.shell_environment import shell_environment
from sidecar.embedded_postgres.cluster import stored_version
from sidecar.embedded_postgres.programs import VERSIONS
from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.operations.migrations import migrate
from sidecar.server import serve

_NEWEST_POSTGRES = "18"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`postgres_version` and `postgres_port`: None for those of the directory. `fresh`: None to keep what is there."""

    postgres_version: str | None = None
    postgres_port: int | None = None
    fresh: AskToDelete | None = None


def run_demo(directory: DemoDirectory, settings: Settings, console: Console, options: DemoOptions) -> int:
    """Runs until Ctrl-C, SIGTERM, SIGHUP or a failure; returns the exit code. Raises SidecarError if a step fails."""
    ending = Ending()
    _on_signals(ending)  # until the service handles signals itself
    steps = Steps(console)
    if settings.database_url is not None:
        steps.print("DATABASE_URL is set; the demo does not touch that database and uses a Postgres of its own.")
    run = _Run(directory, settings, steps, options, ending)
    try:
        exit_code = run.run()
    except SystemExit:  # by a signal, before the service handled them in order
        exit_code = 0
    finally:
        _on_signals(_ignore)  # a second Ctrl-C does not cut off the shutdown of Postgres
        run.stop_postgres()
    console.print(f"Stopped. The data stays in {directory.path}.", soft_wrap=True)
    return exit_code


class Ending:
    """A handler of signals that ends the run.

    Its exception is lost if the signal comes in a callback of the garbage collector: so the run asks after each step.
    """

    def __init__(self) -> None:
        self._requested = False

    def __call__(self, *_signal: object) -> None:
        self._requested = True
        _on_signals(_ignore)
        raise SystemExit(0)

    def check(self) -> None:
        """Raises SystemExit if a signal has come."""
        if self._requested:
            raise SystemExit(0)


class _Run:
    def __init__(
        self, directory: DemoDirectory, settings: Settings, steps: Steps, options: DemoOptions, ending: Ending
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._steps = steps
        self._options = options
        self._ending = ending
        self._postgres: EmbeddedPostgres | None = None

    def run(self) -> int:
        """Returns the exit code of the service."""
        directory, version = self._directory, self._choose_version()
        restart = None if self._options.fresh is None else start_over(directory, version, self._options.fresh)
        postgres = self._prepare(version, recreate=restart is Restart.EXAMPLE)
        settings = demo_settings(self._settings, postgres.url)
        service_url = url_of_service(settings)
        write_private(directory.url_file, f"{postgres.url}\n")
        write_private(directory.env_file, shell_environment(postgres.url, service_url, postgres.bin_dir))

        def print_commands() -> None:
            print_next_commands(self._steps.console, service_url, directory.env_file)

        with Guide(self._steps, directory, RunningService(service_url), postgres.url, print_commands):
            return serve(settings, clean_up=self.stop_postgres)

    def stop_postgres(self) -> None:
        """Stops it, if it runs."""
        if self._postgres is not None:
            self._postgres.stop()

    def _choose_version(self) -> str:
        stored = stored_version(self._directory.postgres)
        if self._options.fresh is not None and stored not in VERSIONS:  # it is asked about, and cannot go on
            stored = None
        return self._options.postgres_version or stored or _NEWEST_POSTGRES

    def _prepare(self, version: str, *, recreate: bool) -> EmbeddedPostgres:
        steps, directory = self._steps, self._directory

        def start() -> EmbeddedPostgres:
            return start_postgres(directory, version, self._options.postgres_port, steps.print)

        postgres = steps.run(f"Postgres {version} with pgvector, its data in {directory.path}", start)
        self._postgres = postgres
        self._ending.check()
        steps.run("Schema `sidecar` up to date (sidecar migrate)", lambda: migrate(postgres.url))
        self._ending.check()
        step = f"Table `{TABLE}`: names and pictures, both watched"
        if not steps.run(step, lambda: create_example(postgres.url, recreate=recreate)):
            steps.print("(as the last run left it)")
        self._ending.check()
        return postgres


def _on_signals(handler: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, handler)  # type: ignore[arg-type]


def _ignore(*_signal: object) -> None:
    """Not SIG_IGN, which the programs that are started for the shutdown would inherit."""
