"""The run of a demo: starts Postgres, schema, example table and service in turn; all end with the process."""

from __future__ import annotations

import signal
from types import FrameType

from rich.console import Console

from sidecar.config import Settings
from sidecar.demo.directory import DemoDirectory
from sidecar.demo.example import TABLE, create_example
from sidecar.demo.guide import Guide
from sidecar.demo.next_commands import print_next_commands
from sidecar.demo.progress import Steps
from sidecar.demo.service import RunningService, url_of_service
from sidecar.demo.settings import demo_settings
from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.operations.migrations import migrate
from sidecar.server import serve


def run_demo(directory: DemoDirectory, settings: Settings, console: Console, postgres_version: str = "18") -> int:
    """Runs until Ctrl-C, SIGTERM, SIGHUP or a failure; returns the exit code. Raises SidecarError if a step fails."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise_exit)  # until the service handles signals itself
    steps = Steps(console)
    if settings.database_url is not None:
        steps.print("DATABASE_URL is set; the demo leaves that database alone and uses a Postgres of its own.")
    postgres = EmbeddedPostgres(directory.postgres, postgres_version)
    try:
        _prepare(directory, postgres, steps)
        settings = demo_settings(settings, postgres.url)
        service_url = url_of_service(settings)

        def print_commands() -> None:
            print_next_commands(console, service_url, directory.url_file, postgres.bin_dir)

        with Guide(steps, directory, RunningService(service_url), postgres.url, print_commands):
            exit_code = serve(settings, clean_up=postgres.stop)
    finally:
        postgres.stop()
    console.print(f"Stopped. The data stays in {directory.path}.", soft_wrap=True)
    return exit_code


def _prepare(directory: DemoDirectory, postgres: EmbeddedPostgres, steps: Steps) -> None:
    steps.run(f"Postgres {postgres.version} with pgvector, its data in {directory.path}", postgres.start)
    directory.write_url(postgres.url)
    steps.run("Schema `sidecar` up to date (sidecar migrate)", lambda: migrate(postgres.url))
    is_new = steps.run(f"Table `{TABLE}`: names and pictures, both watched", lambda: create_example(postgres.url))
    if not is_new:
        steps.print("(as the last run left it; --fresh starts over)")


def _raise_exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
