"""The program `sidecar`: all its commands, and the one place that turns their errors into output and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Annotated, NoReturn

import typer

import sidecar
from sidecar.cli.backfill import backfill
from sidecar.cli.bench import bench
from sidecar.cli.command_groups import CommandGroups
from sidecar.cli.control import pause, rate, reembed, resume
from sidecar.cli.demo import demo
from sidecar.cli.doctor import doctor
from sidecar.cli.errors import report_abort, report_error, report_usage_error, warn
from sidecar.cli.export import export
from sidecar.cli.failures import failures, retry
from sidecar.cli.mcp import mcp
from sidecar.cli.plan import plan
from sidecar.cli.ray import ray
from sidecar.cli.recall import recall
from sidecar.cli.schema import migrate, uninstall
from sidecar.cli.search import search
from sidecar.cli.serve import serve
from sidecar.cli.status import status
from sidecar.cli.texts import texts
from sidecar.cli.verify import verify
from sidecar.cli.watch import unwatch, watch
from sidecar.errors import SidecarError

_GROUPS: Mapping[str, tuple[Callable[..., None], ...]] = {
    "Set up": (demo, migrate, export, serve, ray, uninstall),
    "Choose what is embedded": (plan, bench, watch, unwatch),
    "Use and control": (search, mcp, recall, status, backfill, pause, resume, rate, reembed),
    "Find and repair faults": (failures, retry, texts, verify, doctor),
}


_HELP_OPTIONS = frozenset({"-h", "--help"})
_LOGS_WARNINGS = frozenset({"demo", "serve"})  # they warn of misspelt variables in the log


def main() -> NoReturn:
    """Runs the command line of the process, and exits: 0 done, 1 failed, 2 wrong usage or configuration."""
    as_json = "--json" in sys.argv
    try:
        exit_code = make_program()(prog_name="sidecar", standalone_mode=False)
    except SidecarError as error:
        raise SystemExit(report_error(error, as_json=as_json)) from error
    except typer.Abort as error:
        raise SystemExit(report_abort(as_json=as_json)) from error
    except Exception as error:
        if not hasattr(error, "format_message"):  # of typer's ClickException, which has no public name
            raise
        raise SystemExit(report_usage_error(error, as_json=as_json)) from error
    raise SystemExit(exit_code if isinstance(exit_code, int) else 0)


def make_program() -> typer.Typer:
    program = typer.Typer(
        name="sidecar",
        help="Keeps a pgvector column in step with the text or picture beside it, and embeds queries over REST.\n\n"
        "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 `doctor` found something or `plan` expects a"
        " refusal. A failure ends with ERROR and HINT.",
        no_args_is_help=True,
        cls=CommandGroups,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": sorted(_HELP_OPTIONS), "max_content_width": 110},
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
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand in _LOGS_WARNINGS or not _HELP_OPTIONS.isdisjoint(sys.argv):
        return
    from sidecar.config import misspelt_variables

    for sentence in misspelt_variables():
        warn(sentence)
