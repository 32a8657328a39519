"""`sidecar demo`"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sidecar.cli.output import make_console
from sidecar.cli.serve import Port, check_port, exit_after_serving, load_settings_with


class EmbeddedVersion(Enum):
    """Major versions of Postgres that the extra `embedded` contains; values of the option --postgres."""

    POSTGRES_16 = "16"
    POSTGRES_18 = "18"


def demo(
    port: Port = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where Postgres keeps its data. Default: .demo here; for root /var/lib/sidecar-demo, if Postgres,"
            " which does not run as root, cannot get here.",
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what earlier runs left in the directory.")] = False,
    postgres: Annotated[
        EmbeddedVersion, typer.Option("--postgres", help="The major version of a new directory's Postgres.")
    ] = EmbeddedVersion.POSTGRES_18,
) -> None:
    """Try it here: a Postgres, an example, the service. Nothing has to be set up; Ctrl-C ends all of it.

    The data is kept for the next run. The URL of the database is written to the file database_url in the directory.

    Example: sidecar demo --port 9001 --data-dir /tmp/sidecar-demo
    """
    from sidecar.demo.directory import choose_directory, open_directory
    from sidecar.demo.run import run_demo
    from sidecar.demo.settings import DEMO_HOST

    settings = load_settings_with(port)
    if data_dir is None:
        data_dir = choose_directory()
        if data_dir.parent != Path.cwd():
            typer.echo(f"Postgres does not run as root, and its user cannot enter {Path.cwd()}: the data is elsewhere.")
    with open_directory(data_dir) as directory:
        check_port(DEMO_HOST, settings.bind_port, "Choose another: sidecar demo --port 9001")
        if fresh:
            directory.clear()
        exit_after_serving(run_demo(directory, settings, make_console(), postgres.value))
