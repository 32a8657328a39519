"""`sidecar demo`"""

from __future__ import annotations

import sys
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.output import make_console
from sidecar.cli.serve import Port, check_port, exit_after_serving, load_settings_with

if TYPE_CHECKING:
    from sidecar.demo.fresh import Foreign


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
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Start over: the demo's table, its watches and vectors. What the demo did not make is named, and"
            " deleted only if you say so.",
        ),
    ] = False,
    yes: Annotated[
        bool | None,
        typer.Option(
            "--yes/--no",
            help="Answer that question in scripts: delete everything, or keep the rest.",
            show_default=False,
        ),
    ] = None,
    postgres: Annotated[
        EmbeddedVersion | None,
        typer.Option(
            "--postgres",
            help="PostgreSQL version of a new data directory. Default: 18, or that of the existing directory.",
            show_default=False,
        ),
    ] = None,
    postgres_port: Annotated[
        int | None,
        typer.Option(
            "--postgres-port",
            metavar="PORT",
            min=1,
            max=65535,
            help="The port of Postgres, kept for later starts. Default: 15432, or the next free one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Try it here: a Postgres, an example, the service. Nothing has to be set up; Ctrl-C ends all of it.

    The data is kept for the next run. The file `env` in the directory, to be sourced, has the URLs and PATH.

    Example: sidecar demo --port 9001 --data-dir /tmp/sidecar-demo
    """
    from sidecar.demo.directory import choose_directory, open_directory
    from sidecar.demo.run import DemoOptions, run_demo
    from sidecar.demo.settings import DEMO_HOST

    if yes is not None and not fresh:
        raise typer.BadParameter("they answer the question of --fresh.", param_hint="--yes/--no")
    settings = load_settings_with(port)
    if data_dir is None:
        data_dir = choose_directory()
        if data_dir.parent != Path.cwd():
            typer.echo(f"Postgres does not run as root, and its user cannot enter {Path.cwd()}: the data is elsewhere.")
    version = None if postgres is None else postgres.value
    with open_directory(data_dir) as directory:
        check_port(DEMO_HOST, settings.bind_port, f"Choose another: sidecar demo --port {settings.bind_port + 1}")
        options = DemoOptions(version, postgres_port, partial(_ask_to_delete, yes) if fresh else None)
        exit_after_serving(run_demo(directory, settings, make_console(), options))


def _ask_to_delete(answer: bool | None, foreign: Foreign) -> bool | None:
    """The answer of the command line, else of the person at the terminal; None if there is no terminal."""
    if answer is None and not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    typer.echo(f"The demo's Postgres holds this, which the demo did not create:\n{foreign}", err=True)
    if answer is not None:
        typer.echo(f"It is {'deleted' if answer else 'kept'} (--{'yes' if answer else 'no'}).", err=True)
        return answer
    otherwise = (
        "Otherwise it stays, and only the demo's table starts over."
        if foreign.separable
        else "Otherwise nothing is deleted."
    )
    return typer.confirm(f"Delete all of it as well? {otherwise}", err=True)
