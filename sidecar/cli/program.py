"""The program `sidecar`: all its commands, and the one place that turns their errors into output and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Annotated, NoReturn

import typer

import sidecar
from sidecar.cli.command_groups import CommandGroups
from sidecar.cli.control import pause, rate, reembed, resume
from sidecar.cli.demo import demo
from sidecar.cli.doctor import doctor
from sidecar.cli.errors import print_usage_error, report_error
from sidecar.cli.failures import failures, retry
from sidecar.cli.plan import plan
from sidecar.cli.schema import migrate, uninstall
from sidecar.cli.search import search
from sidecar.cli.serve import serve
from sidecar.cli.status import status
from sidecar.cli.texts import texts
from sidecar.cli.verify import verify
from sidecar.cli.watch import unwatch, watch
from sidecar.errors import SidecarError

_GROUPS: Mapping[str, tuple[Callable[..., None], ...]] = {
    "Set up": (demo, migrate, serve, uninstall),
    "Choose what is embedded": (plan, watch, unwatch),
    "Use and control": (search, status, pause, resume, rate, reembed),
    "Find and repair faults": (failures, retry, texts, verify, doctor),
}


def main() -> NoReturn:
    """Runs the command line of the process, and exits: 0 done, 1 failed, 2 wrong usage or configuration."""
    as_json = "--json" in sys.argv
    try:
        make_program()()
    except SidecarError as error:
        raise SystemExit(report_error(error, as_json=as_json)) from error
    except SystemExit as ended:
        if as_json:
            print_usage_error(ended.__context__)
        raise
    raise SystemExit(0)


def make_program() -> typer.Typer:
    program = typer.Typer(
        name="sidecar",
        help="Keeps a pgvector column in step with the text or picture beside it, and embeds queries over REST.",
        no_args_is_help=True,
        cls=CommandGroups,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    program.callback()(_common)
    for group, commands in _GROUPS.items():
        for command in commands:
            # `rate` takes -5 as a value, to explain why it is refused, not as an option.
            settings = {"ignore_unknown_options": command is rate}
            program.command(context_settings=settings, rich_help_panel=group)(command)
    return program


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sidecar {sidecar.__version__}")
        raise typer.Exit


def _common(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass
